// Serving methods: the subjects that are listened to, and a drain that loses no call.
import type { Subscription } from "@nats-io/transport-node";
import { methodContract, type MethodContract } from "@warren/contract";
import { CallRunner, type CallRunnerDependencies } from "./call-runner.ts";
import type { Handlers, ServiceDefinition } from "./definition.ts";
import { createEndpoint, type Endpoint, type Handler } from "./endpoint.ts";
import { MessageWriter } from "./message-writer.ts";
import { ServedSubject } from "./served-subject.ts";
import { cancelSubject, keyToken, methodSubject, probeSubject } from "./subject.ts";

export interface ServerDependencies extends CallRunnerDependencies {
  /** The queue group: replicas of one service share its calls. */
  readonly name: string;
}

/** A key that this replica serves. */
export interface ServedKey {
  /** Takes no more calls for the key, and resolves when those taken are answered. */
  drain(): Promise<void>;
}

/** Serves methods until it is drained. */
export class Server {
  readonly endpoints = new Map<string, Endpoint>();
  readonly #deps: ServerDependencies;
  readonly #served = new Set<ServedSubject>();
  readonly #control: Subscription[] = [];
  readonly #calls: CallRunner;
  readonly #writer = new MessageWriter();
  #serving = true;
  #draining = false;

  constructor(deps: ServerDependencies) {
    this.#deps = deps;
    this.#calls = new CallRunner(deps);
  }

  /** Calls that are being served, those that wait for their turn counted. */
  get inFlight(): number {
    return this.#calls.size;
  }

  /** Calls that wait for their turn. */
  get queued(): number {
    let waiting = 0;
    for (const { admission } of this.endpoints.values()) waiting += admission.waiting;
    return waiting;
  }

  /** Serves every method of a definition. Resolves when NATS sends calls here. */
  async serve<D extends ServiceDefinition>(
    definition: D,
    handlers: Handlers<D>,
    contractOf = methodContract,
  ): Promise<void> {
    for (const [property, method] of Object.entries(definition.methods)) {
      const contract = contractOf(definition.fullName, method.name);
      const handler = handlers[property as keyof Handlers<D>];
      const endpoint = createEndpoint(contract, method, handler as unknown as Handler, this.#deps.wheel, this.#writer);
      this.endpoints.set(contract.path, endpoint);
      const queue = contract.everyReplica ? undefined : this.#deps.name;
      this.#listen(methodSubject(contract.service, contract.name), endpoint, queue);
    }
    const { connection } = this.#deps;
    const name = definition.fullName;
    // Not drained with the endpoints: calls in flight can be asked for and cancelled until they are answered.
    this.#control.push(
      connection.subscribe(cancelSubject(name), (message) => this.#calls.onCancel(message)),
      connection.subscribe(probeSubject(name), (message) => this.#calls.onProbe(message)),
    );
    await this.#deps.connection.nats.flush();
  }

  /** Serves one key of a keyed method, beside whatever other replicas serve it. */
  async serveKey(method: MethodContract, key: string): Promise<ServedKey> {
    const endpoint = this.endpoints.get(method.path);
    if (!endpoint) throw new Error(`Serve ${method.service} before a key of ${method.path}`);
    const subject = `${methodSubject(method.service, method.name)}.${keyToken(key, method.keyField)}`;
    const served = this.#listen(subject, endpoint, this.#deps.name);
    await this.#deps.connection.nats.flush();
    return {
      drain: async () => {
        this.#served.delete(served);
        await served.leave();
        await served.settled();
      },
    };
  }

  /** Whether calls are taken: not while draining, nor after stepping aside. */
  get serving(): boolean {
    return this.#serving;
  }

  /** Leaves the queue groups for a while: other replicas get the calls. */
  async stepAside(): Promise<void> {
    this.#serving = false;
    await Promise.all([...this.#served].filter(({ queue }) => queue).map((each) => each.leave()));
  }

  /** Joins the queue groups again. */
  comeBack(): void {
    if (this.#draining) return;
    this.#serving = true;
    for (const each of this.#served) each.join();
  }

  /**
   * Leaves without losing a call: no new ones, then those in flight, cut after `graceMs`.
   * The order was measured: any other loses calls (mesh-protocol.md).
   */
  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    this.#serving = false;
    const served = [...this.#served];
    this.#served.clear();
    const cut = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#calls.cut();
      cut.resolve();
    }, graceMs);
    // NATS itself may be what does not answer: nothing outlasts the grace.
    await Promise.race([Promise.all(served.map((each) => each.leave())), cut.promise]);
    // Not before: opened again they must find another replica.
    this.#calls.leave();
    await Promise.race([this.#calls.idle(), cut.promise]);
    clearTimeout(timer);
    for (const subscription of this.#control.splice(0)) subscription.unsubscribe();
  }

  #listen(subject: string, endpoint: Endpoint, queue: string | undefined): ServedSubject {
    const served = new ServedSubject(this.#deps.connection, subject, queue, (message, by) =>
      this.#calls.take(endpoint, message, by),
    );
    served.join();
    this.#served.add(served);
    return served;
  }
}
