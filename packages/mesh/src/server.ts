// Serving methods: subscriptions, admission, checks before the handler, answers, and a drain that loses no call.
import { context } from "@opentelemetry/api";
import { headers, type Msg, type MsgHdrs, type Subscription } from "@nats-io/transport-node";
import { methodContract, type MethodContract } from "@warren/contract";
import { type CallerAssertion, type CallerVerifier, holdsScope } from "./caller.ts";
import type { Connection, MeshLog } from "./connection.ts";
import { assertKnown } from "./contracts.ts";
import { deadlineWithin, now } from "./deadline.ts";
import type { Handlers, ServiceDefinition } from "./definition.ts";
import { createEndpoint, decodeRequest, decodeRequests, type Endpoint, type Handler } from "./endpoint.ts";
import {
  ALIVE_HEADER,
  CALLER_HEADER,
  errorHeaders,
  header,
  headersOf,
  RPC_HEADER,
  STREAM_HEADER,
  unpackCall,
} from "./headers.ts";
import { type Inbox, isInbox } from "./inbox.ts";
import { compose, type IncomingCall, type Interceptor } from "./interceptor.ts";
import { Invocation } from "./invocation.ts";
import type { CallObserver } from "./observer.ts";
import { ServedSubject } from "./served-subject.ts";
import { encodeStatus, RpcError, StatusCode, statusName, toRpcError } from "./status.ts";
import { unpackWindow } from "./stream/credit.ts";
import { unpackStream } from "./stream/resume.ts";
import { ServedStream } from "./stream/served-stream.ts";
import { cancelSubject, keyToken, methodSubject, probeSubject } from "./subject.ts";
import { endSpan, startServerSpan } from "./telemetry.ts";
import type { TimerWheel } from "./timer-wheel.ts";

export interface ServerDependencies {
  /** The queue group: replicas of one service share its calls. */
  readonly name: string;
  readonly connection: Connection;
  readonly inbox: Inbox;
  readonly wheel: TimerWheel;
  readonly verifier: CallerVerifier;
  readonly log: MeshLog;
  /** Around every handler, the first outermost. */
  readonly interceptors: readonly Interceptor<IncomingCall>[];
  readonly observer?: CallObserver | undefined;
}

/** A key that this replica serves. */
export interface ServedKey {
  /** Takes no more calls for the key, and resolves when those taken are answered. */
  drain(): Promise<void>;
}

/** Bytes that the headers of an error may take. */
const ERROR_HEADERS_ROOM = 512;

const ANONYMOUS = { principal: "anonymous", tenant: "default", scopes: [], expiresAt: Number.MAX_SAFE_INTEGER };

/** Serves methods until it is drained. */
export class Server {
  readonly endpoints = new Map<string, Endpoint>();
  readonly #deps: ServerDependencies;
  readonly #served = new Set<ServedSubject>();
  readonly #control: Subscription[] = [];
  readonly #running = new Map<string, Invocation>();
  readonly #streams = new Set<ServedStream>();
  readonly #idle = new Set<() => void>();
  readonly #intercept: Interceptor<IncomingCall> | undefined;
  #inFlight = 0;
  #serving = true;
  #draining = false;

  constructor(deps: ServerDependencies) {
    this.#deps = deps;
    this.#intercept = compose(deps.interceptors);
    // Their callers have failed: whatever the handlers still make, nobody reads.
    deps.connection.onLost(() => {
      for (const stream of this.#streams) stream.lost();
    });
  }

  /** Calls that are being served, those that wait for their turn counted. */
  get inFlight(): number {
    return this.#inFlight;
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
      const endpoint = createEndpoint(contract, method, handler as unknown as Handler, this.#deps.wheel);
      this.endpoints.set(contract.path, endpoint);
      const queue = contract.everyReplica ? undefined : this.#deps.name;
      this.#listen(methodSubject(contract.service, contract.name), endpoint, queue);
    }
    const { connection } = this.#deps;
    const name = definition.fullName;
    // Not drained with the endpoints: calls in flight can be asked for and cancelled until they are answered.
    this.#control.push(
      connection.subscribe(cancelSubject(name), (message) => this.#onCancel(message)),
      connection.subscribe(probeSubject(name), (message) => this.#onProbe(message)),
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
      this.#cut();
      cut.resolve();
    }, graceMs);
    // NATS itself may be what does not answer: nothing outlasts the grace.
    await Promise.race([Promise.all(served.map((each) => each.leave())), cut.promise]);
    // Not before: opened again they must find another replica.
    for (const stream of this.#streams) stream.leave();
    if (this.#inFlight > 0) await Promise.race([new Promise<void>((resolve) => this.#idle.add(resolve)), cut.promise]);
    clearTimeout(timer);
    for (const subscription of this.#control.splice(0)) subscription.unsubscribe();
  }

  #cut(): void {
    const reason = new RpcError(StatusCode.UNAVAILABLE, "The service stopped before the call ended", {
      reason: "CUT_BY_DRAIN",
    });
    for (const [reply, invocation] of this.#running) {
      invocation.abort(reason);
      // A handler that ignores its signal is answered for, and left behind.
      setImmediate(() => {
        if (this.#running.get(reply) === invocation) this.#answer(reply, encodeStatus(reason), reason);
      });
    }
  }

  #listen(subject: string, endpoint: Endpoint, queue: string | undefined): ServedSubject {
    const served = new ServedSubject(this.#deps.connection, subject, queue, (message) =>
      this.#serveCall(endpoint, message),
    );
    served.join();
    this.#served.add(served);
    return served;
  }

  async #serveCall(endpoint: Endpoint, message: Msg): Promise<void> {
    const { method, stats } = endpoint;
    const reply = message.reply;
    // An answer goes to inboxes only: whoever asks cannot make this service publish elsewhere.
    if (!isInbox(reply)) return this.#deps.log.debug({ method: method.path }, "A call without an inbox was dropped");
    const started = now();
    this.#inFlight += 1;
    const { span, within } = startServerSpan(method.service, method.name, traceparent(message));
    let failure: RpcError | undefined;
    let invocation: Invocation | undefined;
    try {
      invocation = this.#invocation(method, headersOf(message));
      this.#running.set(reply, invocation);
      const call = invocation;
      failure = await context.with(within, () => this.#admitted(endpoint, message, reply, call));
    } catch (thrown) {
      failure =
        invocation?.aborted ??
        toRpcError(thrown, (errorId, err) =>
          context.with(within, () => this.#deps.log.error({ errorId, method: method.path, err }, "A handler failed")),
        );
      this.#answer(reply, encodeStatus(failure), failure);
    } finally {
      invocation?.end();
      this.#running.delete(reply);
      const ms = now() - started;
      stats.record(ms, failure && `${statusName(failure.code)}: ${failure.message}`);
      this.#deps.observer?.served(method, ms, failure?.code ?? StatusCode.OK);
      endSpan(span, failure);
      this.#inFlight -= 1;
      if (this.#inFlight === 0) for (const callback of this.#idle) callback();
    }
  }

  #invocation(method: MethodContract, carried: MsgHdrs | undefined): Invocation {
    const packed = header(carried, RPC_HEADER);
    const call = unpackCall(packed);
    // Without its deadline and its idempotency key it would be another call than the one that was made.
    if (packed !== undefined && !call)
      throw new RpcError(StatusCode.INVALID_ARGUMENT, `The header ${RPC_HEADER} of the call is malformed`);
    const assertion = header(carried, CALLER_HEADER) as CallerAssertion | undefined;
    const caller =
      assertion === undefined && method.scope === "public" ? ANONYMOUS : this.#deps.verifier.verify(assertion);
    if (!holdsScope(caller, method.scope))
      throw new RpcError(StatusCode.PERMISSION_DENIED, `${method.path} needs the scope ${method.scope}`, {
        reason: "SCOPE_MISSING",
        metadata: { scope: method.scope },
      });
    assertKnown(method, call?.contracts);
    const deadline = deadlineWithin(call?.remainingMs ?? method.timeoutMs);
    const { attempt = 1, idempotencyKey } = call ?? {};
    const resumeFrom = method.streaming ? unpackStream(header(carried, STREAM_HEADER))?.position : undefined;
    const own = assertion ?? ("" as CallerAssertion);
    const context = { deadline, caller, assertion: own, idempotencyKey, attempt, resumeFrom };
    return new Invocation(context, this.#deps.wheel);
  }

  /** Serves a call that has its turn; returns what its stream failed by, which its reader was told already. */
  async #admitted(
    endpoint: Endpoint,
    message: Msg,
    reply: string,
    invocation: Invocation,
  ): Promise<RpcError | undefined> {
    const { admission } = endpoint;
    // Work whose caller no longer waits is dropped, not run.
    if (!admission.tryEnter()) await admission.enter(invocation.deadline);
    let stream: ServedStream | undefined;
    try {
      if (invocation.aborted) throw invocation.aborted;
      const { method } = endpoint;
      stream = method.requestStreaming ? this.#stream(method, message, reply, invocation) : undefined;
      const request = stream ? decodeRequests(endpoint, stream.requests) : decodeRequest(endpoint, message.data);
      let failure: RpcError | undefined;
      const serve = async (): Promise<Uint8Array | undefined> => {
        const answers = endpoint.run(request, invocation);
        if (!method.streaming && !stream) return answers as Promise<Uint8Array>;
        stream ??= this.#stream(method, message, reply, invocation);
        failure = await stream.run(answers);
        return undefined;
      };
      const answer = this.#intercept
        ? await this.#intercept({ method, request, ctx: invocation }, serve)
        : await serve();
      if (!answer) return failure;
      invocation.assertInTime();
      this.#answer(reply, answer);
      return undefined;
    } finally {
      admission.leave();
      if (stream) this.#streams.delete(stream);
      // Where an interceptor or the handler refused before it ran, the caller gets the error that follows.
      stream?.abandon();
    }
  }

  /** Takes a call that streams. @throws RpcError INVALID_ARGUMENT when it does not say how much it takes. */
  #stream(method: MethodContract, message: Msg, reply: string, invocation: Invocation): ServedStream {
    const window = unpackWindow(unpackStream(header(message.headers, STREAM_HEADER))?.window);
    if (!window) throw new RpcError(StatusCode.INVALID_ARGUMENT, "A call of a streaming method names no window");
    const { connection, inbox, wheel, log } = this.#deps;
    const takesRequests = method.requestStreaming;
    const stream = new ServedStream({ connection, inbox, wheel, reply, window, takesRequests, invocation, log });
    this.#streams.add(stream);
    // Taken while this replica leaves: it goes on elsewhere at once.
    if (this.#draining) stream.leave();
    return stream;
  }

  #answer(reply: string, payload: Uint8Array, failure?: RpcError): void {
    const { connection } = this.#deps;
    if (!connection.up) return;
    if (payload.length > connection.maxPayload - (failure ? ERROR_HEADERS_ROOM : 0)) {
      const error = new RpcError(
        StatusCode.RESOURCE_EXHAUSTED,
        `An answer of ${payload.length} bytes is over the mesh's limit`,
        { reason: "TOO_LARGE" },
      );
      return this.#answer(reply, encodeStatus(error), error);
    }
    connection.nats.publish(reply, payload, failure ? { headers: errorHeaders(failure.code, failure.message) } : {});
  }

  #onProbe(message: Msg): void {
    const route = message.string();
    if (!this.#running.has(route) || !isInbox(route)) return;
    const alive = headers();
    alive.set(ALIVE_HEADER, "1");
    this.#deps.connection.nats.publish(route, undefined, { headers: alive });
  }

  #onCancel(message: Msg): void {
    this.#running.get(message.string())?.abort(new RpcError(StatusCode.CANCELLED, "The caller cancelled the call"));
  }
}

/** The trace that a call belongs to; headers that cannot be read are refused where the call is. */
function traceparent(message: Msg): string | undefined {
  try {
    return header(headersOf(message), "traceparent");
  } catch {
    return undefined;
  }
}
