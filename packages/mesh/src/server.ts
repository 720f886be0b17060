// Serving methods: subscriptions, admission, checks before the handler, answers, and a drain that loses no call.
import { context } from "@opentelemetry/api";
import { headers, type Msg, type Subscription } from "@nats-io/transport-node";
import { methodContract, type MethodContract } from "@warren/contract";
import { AnswerBundles } from "./answer-bundle.ts";
import { type CallerAssertion, type CallerVerifier, holdsScope } from "./caller.ts";
import type { Connection, MeshLog } from "./connection.ts";
import { deadlineWithin, now } from "./deadline.ts";
import type { Handlers, ServiceDefinition } from "./definition.ts";
import { createEndpoint, decodeRequest, type Endpoint, type Handler } from "./endpoint.ts";
import { ALIVE_HEADER, errorHeaders, requestHeaders, type RequestHeaders, RPC_HEADER, unpackCall } from "./headers.ts";
import { type Inbox, isInbox } from "./inbox.ts";
import { compose, type IncomingCall, type Interceptor } from "./interceptor.ts";
import { Invocation } from "./invocation.ts";
import { MessageWriter } from "./message-writer.ts";
import { CallsInFlight, ServedCall } from "./served-call.ts";
import type { CallObserver } from "./observer.ts";
import { ServedSubject } from "./served-subject.ts";
import { encodeStatus, RpcError, StatusCode, statusName, toRpcError } from "./status.ts";
import { unpackWindow } from "./stream/credit.ts";
import { StreamWriter } from "./stream/writer.ts";
import { cancelSubject, keyToken, methodSubject, probeSubject } from "./subject.ts";
import { endSpan, startServerSpan } from "./telemetry.ts";
import type { TimerWheel } from "./timer-wheel.ts";
import { headerBlock, replyOf, Wire } from "./wire.ts";

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

const ANONYMOUS = {
  caller: { principal: "anonymous", tenant: "default", scopes: [], expiresAt: Number.MAX_SAFE_INTEGER },
  assertion: "" as CallerAssertion,
};

/** Serves methods until it is drained. */
export class Server {
  readonly endpoints = new Map<string, Endpoint>();
  readonly #deps: ServerDependencies;
  readonly #served = new Set<ServedSubject>();
  readonly #control: Subscription[] = [];
  readonly #calls = new CallsInFlight();
  readonly #idle = new Set<() => void>();
  readonly #intercept: Interceptor<IncomingCall> | undefined;
  readonly #answers: AnswerBundles;
  readonly #writer = new MessageWriter();
  #serving = true;
  #draining = false;

  constructor(deps: ServerDependencies) {
    this.#deps = deps;
    this.#intercept = compose(deps.interceptors);
    this.#answers = new AnswerBundles(new Wire(deps.connection.nats), () => deps.connection.up);
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
  async serve<D extends ServiceDefinition>(definition: D, handlers: Handlers<D>): Promise<void> {
    for (const [property, method] of Object.entries(definition.methods)) {
      const contract = methodContract(definition.fullName, method.name);
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
    if (this.#calls.size > 0)
      await Promise.race([new Promise<void>((resolve) => this.#idle.add(resolve)), cut.promise]);
    clearTimeout(timer);
    for (const subscription of this.#control.splice(0)) subscription.unsubscribe();
  }

  #cut(): void {
    const reason = new RpcError(StatusCode.UNAVAILABLE, "The service stopped before the call ended", {
      reason: "CUT_BY_DRAIN",
    });
    for (const call of this.#calls.all()) {
      call.invocation?.abort(reason);
      // A handler that ignores its signal is answered for, and left behind.
      if (call.invocation) setImmediate(() => this.#fail(call, reason));
    }
  }

  #listen(subject: string, endpoint: Endpoint, queue: string | undefined): ServedSubject {
    const served = new ServedSubject(this.#deps.connection, subject, queue, (message, by) =>
      this.#take(endpoint, message, by),
    );
    served.join();
    this.#served.add(served);
    return served;
  }

  /** Serves a call. Nothing of it is asynchronous but what must be: the handler, and a wait for its turn. */
  #take(endpoint: Endpoint, message: Msg, by: ServedSubject): void {
    const { method, spans } = endpoint;
    const reply = replyOf(message);
    // An answer goes to inboxes only: whoever asks cannot make this service publish elsewhere.
    if (!isInbox(reply)) {
      by.answered();
      return this.#deps.log.debug({ method: method.path }, "A call without an inbox was dropped");
    }
    const started = now();
    const carried = requestHeaders(headerBlock(message));
    const { span, within } = startServerSpan(spans, carried.traceparent);
    const call = new ServedCall(endpoint, by, reply, started, span);
    this.#calls.add(call);
    context.with(within, () => this.#begin(call, message.data, carried));
  }

  #begin(call: ServedCall, data: Uint8Array, carried: RequestHeaders): void {
    const { admission, method } = call.endpoint;
    try {
      const invocation = this.#invocation(method, carried, call.started);
      call.invocation = invocation;
      if (admission.tryEnter()) return this.#admitted(call, invocation, data, carried);
      // Work whose caller no longer waits is dropped, not run.
      admission.enter(invocation.deadline).then(
        () => this.#admitted(call, invocation, data, carried),
        (thrown: unknown) => this.#failed(call, thrown),
      );
    } catch (thrown) {
      this.#failed(call, thrown);
    }
  }

  /** Serves a call that has its turn. */
  #admitted(call: ServedCall, invocation: Invocation, data: Uint8Array, carried: RequestHeaders): void {
    const { endpoint } = call;
    call.admitted = true;
    try {
      if (invocation.aborted) throw invocation.aborted;
      const request = decodeRequest(endpoint, data);
      if (this.#intercept) return this.#intercepted(this.#intercept, call, invocation, request, carried);
      const answers = endpoint.handle(request, invocation);
      if (Symbol.asyncIterator in answers) return this.#streamed(call, invocation, answers, carried);
      answers.then(
        (answer) => this.#succeed(call, invocation, answer),
        (thrown: unknown) => this.#failed(call, thrown),
      );
    } catch (thrown) {
      this.#failed(call, thrown);
    }
  }

  #intercepted(
    intercept: Interceptor<IncomingCall>,
    call: ServedCall,
    ctx: Invocation,
    request: object,
    carried: RequestHeaders,
  ): void {
    const { endpoint } = call;
    /** What a stream failed by, which its reader was told already. */
    let failure: RpcError | undefined;
    const serve = async (): Promise<object | undefined> => {
      const answers = endpoint.handle(request, ctx);
      if (!(Symbol.asyncIterator in answers)) return answers;
      failure = await this.#stream(call, ctx, answers, carried);
      return undefined;
    };
    intercept({ method: endpoint.method, request, ctx }, serve).then(
      (answer) => (answer ? this.#succeed(call, ctx, answer) : this.#over(call, failure)),
      (thrown: unknown) => this.#failed(call, thrown),
    );
  }

  #streamed(call: ServedCall, ctx: Invocation, answers: AsyncIterable<object>, carried: RequestHeaders): void {
    this.#stream(call, ctx, answers, carried).then(
      (failure) => this.#over(call, failure),
      (thrown: unknown) => this.#failed(call, thrown),
    );
  }

  #succeed(call: ServedCall, invocation: Invocation, answer: object): void {
    try {
      invocation.assertInTime();
      this.#answer(call, call.endpoint.encode(answer));
    } catch (thrown) {
      return this.#failed(call, thrown);
    }
    this.#over(call);
  }

  #failed(call: ServedCall, thrown: unknown): void {
    const { method } = call.endpoint;
    const failure =
      call.invocation?.aborted ??
      toRpcError(thrown, (errorId, err) =>
        this.#deps.log.error({ errorId, method: method.path, err }, "A handler failed"),
      );
    this.#fail(call, failure);
    this.#over(call, failure);
  }

  /** A call is over, and was answered. */
  #over(call: ServedCall, failure?: RpcError): void {
    const { endpoint, span, started, by } = call;
    call.answered = true;
    if (call.admitted) endpoint.admission.leave();
    call.invocation?.end();
    this.#calls.remove(call);
    const ms = now() - started;
    endpoint.stats.record(ms, failure && `${statusName(failure.code)}: ${failure.message}`);
    this.#deps.observer?.served(endpoint.method, ms, failure?.code ?? StatusCode.OK);
    endSpan(span, failure);
    by.answered();
    if (this.#calls.size === 0) for (const callback of this.#idle) callback();
  }

  #invocation(method: MethodContract, carried: RequestHeaders, time: number): Invocation {
    const packed = carried.rpc;
    const call = unpackCall(packed);
    // Without its deadline and its idempotency key it would be another call than the one that was made.
    if (packed !== undefined && !call)
      throw new RpcError(StatusCode.INVALID_ARGUMENT, `The header ${RPC_HEADER} of the call is malformed`);
    const { caller, assertion } =
      carried.caller === undefined && method.scope === "public"
        ? ANONYMOUS
        : this.#deps.verifier.verified(carried.caller);
    if (!holdsScope(caller, method.scope))
      throw new RpcError(StatusCode.PERMISSION_DENIED, `${method.path} needs the scope ${method.scope}`, {
        reason: "SCOPE_MISSING",
        metadata: { scope: method.scope },
      });
    const deadline = deadlineWithin(call?.remainingMs ?? method.timeoutMs, undefined, time);
    const { attempt = 1, idempotencyKey } = call ?? {};
    return new Invocation({ deadline, caller, assertion, idempotencyKey, attempt }, this.#deps.wheel);
  }

  async #stream(
    call: ServedCall,
    invocation: Invocation,
    answers: AsyncIterable<object>,
    carried: RequestHeaders,
  ): Promise<RpcError | undefined> {
    const window = unpackWindow(carried.window);
    if (!window) throw new RpcError(StatusCode.INVALID_ARGUMENT, "A call of a streaming method names no window");
    const { reply, endpoint } = call;
    const { connection, inbox, wheel, log } = this.#deps;
    const gone = new RpcError(StatusCode.CANCELLED, "The reader of the stream left");
    const writer = new StreamWriter({ connection, inbox, wheel, reply, window, onGone: () => invocation.abort(gone) });
    // A writer that waits for credit, or for a handler that does not heed its signal, ends with the call all the same.
    invocation.signal.addEventListener("abort", () => writer.end(invocation.aborted));
    try {
      for await (const answer of answers) {
        if (invocation.aborted) throw invocation.aborted;
        const room = writer.write(endpoint.encode(answer));
        if (room) await room;
      }
      if (invocation.aborted) throw invocation.aborted;
      writer.end();
      return undefined;
    } catch (thrown) {
      const failure =
        invocation.aborted ??
        toRpcError(thrown, (errorId, err) => log.error({ errorId, err }, "A streaming handler failed"));
      writer.end(failure);
      return failure;
    }
  }

  /** Sends a call's one answer. */
  #answer(call: ServedCall, payload: Uint8Array): void {
    const { connection } = this.#deps;
    if (payload.length > connection.maxPayload)
      throw new RpcError(
        StatusCode.RESOURCE_EXHAUSTED,
        `An answer of ${payload.length} bytes is over the mesh's limit`,
        { reason: "TOO_LARGE" },
      );
    if (call.answered) return;
    call.answered = true;
    if (connection.up) this.#answers.send(call.reply, payload);
  }

  /** Sends an error in place of an answer. */
  #fail(call: ServedCall, failure: RpcError): void {
    const { connection } = this.#deps;
    if (call.answered) return;
    call.answered = true;
    if (!connection.up) return;
    let error = failure;
    let payload = encodeStatus(error);
    if (payload.length > connection.maxPayload - ERROR_HEADERS_ROOM) {
      const text = `An error of ${payload.length} bytes is over the mesh's limit`;
      error = new RpcError(StatusCode.RESOURCE_EXHAUSTED, text, { reason: "TOO_LARGE" });
      payload = encodeStatus(error);
    }
    connection.nats.publish(call.reply, payload, { headers: errorHeaders(error.code, error.message) });
  }

  #onProbe(message: Msg): void {
    const route = message.string();
    if (!isInbox(route) || !this.#calls.find(route)) return;
    const alive = headers();
    alive.set(ALIVE_HEADER, "1");
    this.#deps.connection.nats.publish(route, undefined, { headers: alive });
  }

  #onCancel(message: Msg): void {
    this.#calls
      .find(message.string())
      ?.invocation?.abort(new RpcError(StatusCode.CANCELLED, "The caller cancelled the call"));
  }
}
