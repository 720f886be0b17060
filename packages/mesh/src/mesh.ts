// The mesh as a service sees it: serve and call methods, publish and receive events, keep state.
import { randomUUID } from "node:crypto";
import type { JetStreamClient } from "@nats-io/jetstream";
import { type MethodContract, methodContract } from "@warren/contract";
import type { CallOptions } from "./call-context.ts";
import { type Caller, type CallerAssertion, CallerSigner, CallerVerifier } from "./caller.ts";
import { Client } from "./client.ts";
import { Connection } from "./connection.ts";
import type { Handlers, ServiceClient, ServiceDefinition } from "./definition.ts";
import { countOthers, serveDiscovery } from "./discovery.ts";
import { DurableEvents } from "./durable/durable-events.ts";
import { Events } from "./events.ts";
import { reportPath } from "./fast-path.ts";
import { Inbox } from "./inbox.ts";
import { LoadShedding } from "./load-shedding.ts";
import type { MeshLoad, MeshOptions } from "./mesh-options.ts";
import { MessageWriter } from "./message-writer.ts";
import { accountOf, foreignApi, hasReaders, RECORDS, type StateName } from "./policy/names.ts";
import { type ServicePolicy, services, type StateSpec, state } from "./policy/policy.ts";
import { type ServedKey, Server } from "./server.ts";
import type { Codec } from "./state/codec.ts";
import { assertSafeReplicas, openJetStream, type StateDependencies } from "./state/jetstream.ts";
import { KvView } from "./state/kv-view.ts";
import { Kv } from "./state/kv.ts";
import { Log } from "./state/log.ts";
import { ObjectBucket } from "./state/objects.ts";
import { TimerWheel } from "./timer-wheel.ts";
import { typedClient } from "./typed-client.ts";

/** How long calls in flight may go on during a drain, in milliseconds. */
const DRAIN_GRACE_MS = 25_000;

/** Joins a mesh as one of its services. */
export async function connectMesh(options: MeshOptions): Promise<Mesh> {
  const { credentials, servers, log, tls, connectTimeoutMs } = options;
  const { service: name, seed } = credentials;
  const connection = await Connection.open({ name, seed, servers, log, tls, connectTimeoutMs });
  try {
    await reportPath(connection, log);
    return new Mesh(connection, options);
  } catch (error) {
    // A connection that nobody holds would reconnect for ever, and keep its process from ending.
    await connection.nats.close();
    throw error;
  }
}

/** One service's membership of a mesh. */
export class Mesh {
  /** The service's name. */
  readonly name: string;
  /** This process among the service's replicas. */
  readonly instanceId: string;
  /** Publishes an event, an audited one durably; see {@link Events.publish}. */
  readonly publish: Events["publish"];
  /** Receives an event, whoever publishes it. */
  readonly subscribe: Events["subscribe"];
  /** Receives every event whose name matches, `plugin.>` for one. */
  readonly subscribePattern: Events["subscribePattern"];
  /** The next event that a predicate accepts. */
  readonly waitFor: Events["waitFor"];
  /** Receives a stored event, across restarts and until it is handled; see {@link Events.consume}. */
  readonly consume: Events["consume"];
  /** The same for every stored event whose name matches. */
  readonly consumePattern: Events["consumePattern"];
  /** The audited events that are kept, page by page. */
  readonly auditLog: DurableEvents["auditLog"];
  /** The events that durable consumers could not handle, page by page. */
  readonly deadLetters: DurableEvents["deadLetters"];
  readonly #connection: Connection;
  readonly #client: Client;
  readonly #server: Server;
  readonly #inbox: Inbox;
  readonly #durable: DurableEvents;
  readonly #signer: CallerSigner;
  readonly #shedding: LoadShedding;
  readonly #wheel = new TimerWheel();
  readonly #writer = new MessageWriter();
  readonly #policy: ServicePolicy;
  readonly #replicas: number;
  readonly #contractOf: typeof methodContract;
  /** JetStream by the account that is asked. */
  readonly #js = new Map<string, JetStreamClient>();

  constructor(connection: Connection, options: MeshOptions) {
    const { service, seed, trusted } = options.credentials;
    const policies: Readonly<Record<string, ServicePolicy>> = services;
    const policy = policies[service];
    if (!policy) throw new Error(`The mesh's policy has no service ${service}`);
    this.name = service;
    this.instanceId = options.instanceId ?? randomUUID();
    this.#policy = policy;
    this.#replicas = options.replicas ?? 1;
    this.#contractOf = options.contractOf ?? methodContract;
    this.#connection = connection;
    this.#signer = new CallerSigner(service, seed);
    const inbox = new Inbox(connection);
    this.#inbox = inbox;
    const wheel = this.#wheel;
    this.#client = new Client({
      connection,
      inbox,
      wheel,
      signer: this.#signer,
      interceptors: options.interceptors?.client ?? [],
      observer: options.observer,
    });
    const verifier = new CallerVerifier(trusted);
    this.#server = new Server({
      name: service,
      connection,
      inbox,
      wheel,
      verifier,
      log: options.log,
      interceptors: options.interceptors?.server ?? [],
      observer: options.observer,
    });
    const durable = new DurableEvents({
      service,
      policy,
      connection,
      log: options.log,
      state: () => this.#state(RECORDS),
    });
    this.#durable = durable;
    this.auditLog = durable.auditLog.bind(durable);
    this.deadLetters = durable.deadLetters.bind(durable);
    const events = new Events(connection, options.log, durable, service);
    this.publish = events.publish.bind(events);
    this.subscribe = events.subscribe.bind(events);
    this.subscribePattern = events.subscribePattern.bind(events);
    this.waitFor = events.waitFor.bind(events);
    this.consume = events.consume.bind(events);
    this.consumePattern = events.consumePattern.bind(events);
    this.#shedding = new LoadShedding({
      leave: () => this.#server.stepAside(),
      join: () => this.#server.comeBack(),
      othersServe: async () => (await countOthers(connection, inbox, service, this.instanceId)) > 0,
      log: options.log,
    });
    serveDiscovery({
      name: service,
      instanceId: this.instanceId,
      version: options.version ?? "0.0.0",
      description: options.description ?? "",
      connection,
      server: this.#server,
    });
  }

  /** Whether messages flow now; false while NATS is away. */
  get up(): boolean {
    return this.#connection.up;
  }

  /** Whether the connection to NATS is gone for good: nothing will bring it back but a new process. */
  get closed(): boolean {
    return this.#connection.nats.isClosed();
  }

  /** What goes on: all 0 when nothing does. */
  get load(): MeshLoad {
    return {
      calls: this.#server.inFlight,
      queued: this.#server.queued,
      routes: this.#inbox.size,
      timers: this.#wheel.size,
    };
  }

  /** Calls back when NATS is there again after an absence, until the returned function is called. */
  onReconnect(callback: () => void): () => void {
    return this.#connection.onBack(callback);
  }

  /** Serves every method of a contract. Resolves when calls arrive. */
  serve<D extends ServiceDefinition>(definition: D, handlers: Handlers<D>): Promise<void> {
    return this.#server.serve(definition, handlers, this.#contractOf);
  }

  /** Serves one key of a keyed method, beside the base subject that {@link serve} serves. */
  serveKey<D extends ServiceDefinition>(
    definition: D,
    method: keyof D["methods"] & string,
    key: string,
  ): Promise<ServedKey> {
    const name = definition.methods[method]?.name ?? method;
    return this.#server.serveKey(this.#contractOf(definition.fullName, name), key);
  }

  /** A typed client of another service. */
  client<D extends ServiceDefinition>(definition: D): ServiceClient<D> {
    return typedClient(this.#client, definition, this.#contractOf, this.#writer);
  }

  /** Calls a unary method with bytes. */
  call(method: MethodContract, request: Uint8Array, options?: CallOptions, key?: string): Promise<Uint8Array> {
    return this.#client.call(method, request, (answer) => answer, options, key);
  }

  /** Calls a streaming method with bytes: of its one request, or of many. */
  stream(
    method: MethodContract,
    request: Uint8Array | AsyncIterable<Uint8Array>,
    options?: CallOptions,
    key?: string,
  ): AsyncIterable<Uint8Array> {
    return this.#client.stream(method, request, (message) => message, options, key);
  }

  /** Asks every replica. Concatenated, the answers are one message: protobuf merges by concatenation. */
  gather(method: MethodContract, request: Uint8Array, options?: CallOptions): Promise<Uint8Array[]> {
    return this.#client.gather(method, request, options);
  }

  /** How many replicas of this service are on the mesh, this one included. Takes a quarter of a second. @throws Error while NATS is away. */
  async countReplicas(): Promise<number> {
    if (!this.#connection.up) throw new Error("The replicas cannot be counted: NATS is away");
    return 1 + (await countOthers(this.#connection, this.#inbox, this.name, this.instanceId, "all"));
  }

  /** Signs who a call is made for; other services believe it only of a service that may speak for users. */
  assert(caller: Caller): CallerAssertion {
    return this.#signer.assert(caller);
  }

  /** A bucket of keys and values that this service owns. @throws Error when the policy gives it to another. */
  async kv<T>(name: StateName, codec: Codec<T>): Promise<Kv<T>> {
    const spec = this.#spec(name, "kv");
    if (accountOf(name) !== this.name)
      throw new Error(`The state ${name} is another service's: open a view of it (kvView)`);
    return Kv.open(spec, hasReaders(name), codec, this.#state(this.name));
  }

  /** A bucket of another service, to read. @throws Error when the policy does not let this service read it. */
  async kvView<T>(name: StateName, codec: Codec<T>): Promise<KvView<T>> {
    const spec = this.#spec(name, "kv");
    if (!this.#policy.reads.includes(name)) throw new Error(`The policy does not let ${this.name} read ${name}`);
    return KvView.open(spec, codec, this.#state(accountOf(name)));
  }

  /** A stream of append-only logs that this service owns. */
  async log<T>(name: StateName, codec: Codec<T>): Promise<Log<T>> {
    return Log.open(this.#spec(name, "stream"), codec, this.#state(accountOf(name)));
  }

  /** A bucket of objects that this service owns; or another's, to store into. */
  async objects(name: StateName): Promise<ObjectBucket> {
    const owner = accountOf(name);
    return ObjectBucket.open(this.#spec(name, "objects"), owner === this.name, this.#state(owner));
  }

  /** Leaves the queue groups, so that other replicas get the calls; for maintenance, and by itself when the event loop lags. */
  stepAside(): Promise<void> {
    return this.#server.stepAside();
  }

  /** Joins the queue groups again. */
  comeBack(): void {
    this.#server.comeBack();
  }

  /**
   * Takes no more calls and stored events, and waits for those in hand; after `graceMs` calls that still run are cut
   * with UNAVAILABLE, and events given back.
   * Calls to other services, events and state go on until {@link close}.
   */
  async drain(graceMs = DRAIN_GRACE_MS): Promise<void> {
    this.#shedding.stop();
    await Promise.all([this.#server.drain(graceMs), this.#durable.drain(graceMs)]);
  }

  /** Sends what is still to be sent, and leaves the mesh. */
  async close(): Promise<void> {
    this.#shedding.stop();
    this.#wheel.stop();
    await this.#durable.close();
    if (this.#connection.nats.isClosed()) return;
    // A server that is gone, unnoticed so far, must not keep this from closing: the client would reconnect for ever.
    if (this.#connection.up) await this.#connection.nats.flush().catch(() => undefined);
    await this.#connection.nats.close();
  }

  #spec(name: StateName, kind: StateSpec["kind"]): StateSpec {
    const spec: StateSpec = state[name];
    if (spec.kind !== kind) throw new Error(`The policy's state ${name} is of kind ${spec.kind}, not ${kind}`);
    return spec;
  }

  #state(account: string): StateDependencies {
    assertSafeReplicas(this.#connection.nats.info?.version, this.#replicas);
    const own = account === this.name;
    const js = this.#js.get(account) ?? openJetStream(this.#connection, own ? undefined : foreignApi(account));
    this.#js.set(account, js);
    return { connection: this.#connection, js, replicas: this.#replicas };
  }
}
