// The calls that a process serves, each from its arrival to its one answer.
import { context } from "@opentelemetry/api";
import { headers, type Msg } from "@nats-io/transport-node";
import { checkedInvocation } from "./call-checks.ts";
import type { CallerVerifier } from "./caller.ts";
import type { Connection, MeshLog } from "./connection.ts";
import { now } from "./deadline.ts";
import { decodeRequest, decodeRequests, type Endpoint, type Handler } from "./endpoint.ts";
import { ALIVE_HEADER, requestHeaders, type RequestHeaders } from "./headers.ts";
import { type Inbox, isInbox } from "./inbox.ts";
import { compose, type IncomingCall, type Interceptor } from "./interceptor.ts";
import type { Invocation } from "./invocation.ts";
import type { CallObserver } from "./observer.ts";
import { Replies } from "./replies.ts";
import { CallsInFlight, ServedCall } from "./served-call.ts";
import type { ServedSubject } from "./served-subject.ts";
import { RpcError, StatusCode, statusName, toRpcError } from "./status.ts";
import { unpackWindow } from "./stream/credit.ts";
import { mapEach } from "./stream/map-each.ts";
import { unpackStream } from "./stream/resume.ts";
import { ServedStream } from "./stream/served-stream.ts";
import { endSpan, startServerSpan } from "./telemetry.ts";
import type { TimerWheel } from "./timer-wheel.ts";
import { headerBlock, replyOf } from "./wire.ts";

export interface CallRunnerDependencies {
  readonly connection: Connection;
  readonly inbox: Inbox;
  readonly wheel: TimerWheel;
  readonly verifier: CallerVerifier;
  readonly log: MeshLog;
  /** Around every handler, the first outermost. */
  readonly interceptors: readonly Interceptor<IncomingCall>[];
  readonly observer?: CallObserver | undefined;
}

type Answers = ReturnType<Handler>;

/** Runs calls: admission, checks before the handler, the handler, its answer. */
export class CallRunner {
  readonly #deps: CallRunnerDependencies;
  readonly #calls = new CallsInFlight();
  readonly #streams = new Set<ServedStream>();
  readonly #idle = new Set<() => void>();
  readonly #intercept: Interceptor<IncomingCall> | undefined;
  readonly #replies: Replies;
  #leaving = false;

  constructor(deps: CallRunnerDependencies) {
    this.#deps = deps;
    this.#intercept = compose(deps.interceptors);
    this.#replies = new Replies(deps.connection);
    // Their callers have failed: whatever the handlers still make, nobody reads.
    deps.connection.onLost(() => {
      for (const stream of this.#streams) stream.lost();
    });
  }

  /** Calls that are being served, those that wait for their turn counted. */
  get size(): number {
    return this.#calls.size;
  }

  /** Resolves when none is being served. */
  idle(): Promise<void> {
    return this.#calls.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.add(resolve));
  }

  /** The service leaves: streams that can go on elsewhere end so, those that come from now on too. */
  leave(): void {
    this.#leaving = true;
    for (const stream of this.#streams) stream.leave();
  }

  /** Ends all that still runs: its callers are told that the service stopped. */
  cut(): void {
    const reason = new RpcError(StatusCode.UNAVAILABLE, "The service stopped before the call ended", {
      reason: "CUT_BY_DRAIN",
    });
    for (const call of this.#calls.all()) {
      call.invocation?.abort(reason);
      // A handler that ignores its signal is answered for, and left behind.
      if (call.invocation) setImmediate(() => this.#replies.fail(call, reason));
    }
  }

  /** Says at a call's route that it is worked on, where it is. */
  onProbe(message: Msg): void {
    const route = message.string();
    if (!isInbox(route) || !this.#calls.find(route)) return;
    const alive = headers();
    alive.set(ALIVE_HEADER, "1");
    this.#deps.connection.nats.publish(route, undefined, { headers: alive });
  }

  /** Tells the handler of a call that nobody waits for it. */
  onCancel(message: Msg): void {
    this.#calls
      .find(message.string())
      ?.invocation?.abort(new RpcError(StatusCode.CANCELLED, "The caller cancelled the call"));
  }

  /** Serves a call. Nothing of it is asynchronous but what must be: the handler, and a wait for its turn. */
  take(endpoint: Endpoint, message: Msg, by: ServedSubject): void {
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
    const { verifier, wheel } = this.#deps;
    try {
      const invocation = checkedInvocation(method, carried, call.started, verifier, wheel);
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
      if (endpoint.method.requestStreaming) call.stream = this.#stream(call, invocation, carried);
      const request = call.stream ? decodeRequests(endpoint, call.stream.requests) : decodeRequest(endpoint, data);
      if (this.#intercept) return this.#intercepted(this.#intercept, call, invocation, request, carried);
      const answers = endpoint.handle(request, invocation);
      if (call.stream || Symbol.asyncIterator in answers) return this.#streamed(call, invocation, answers, carried);
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
      if (!call.stream && !(Symbol.asyncIterator in answers)) return answers;
      failure = await this.#run(call, ctx, answers, carried);
      return undefined;
    };
    intercept({ method: endpoint.method, request, ctx }, serve).then(
      (answer) => (answer ? this.#succeed(call, ctx, answer) : this.#over(call, failure)),
      (thrown: unknown) => this.#failed(call, thrown),
    );
  }

  #streamed(call: ServedCall, ctx: Invocation, answers: Answers, carried: RequestHeaders): void {
    this.#run(call, ctx, answers, carried).then(
      (failure) => this.#over(call, failure),
      (thrown: unknown) => this.#failed(call, thrown),
    );
  }

  /** Streams what a handler answers; resolves with what it failed by, which its reader was told. */
  async #run(
    call: ServedCall,
    ctx: Invocation,
    answers: Answers,
    carried: RequestHeaders,
  ): Promise<RpcError | undefined> {
    const { encode } = call.endpoint;
    call.stream ??= this.#stream(call, ctx, carried);
    return call.stream.run(Symbol.asyncIterator in answers ? mapEach(answers, encode) : answers.then(encode));
  }

  #succeed(call: ServedCall, invocation: Invocation, answer: object): void {
    try {
      invocation.assertInTime();
      this.#replies.answer(call, call.endpoint.encode(answer));
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
    this.#replies.fail(call, failure);
    this.#over(call, failure);
  }

  /** A call is over, and was answered. */
  #over(call: ServedCall, failure?: RpcError): void {
    const { endpoint, span, started, by } = call;
    call.answered = true;
    if (call.admitted) endpoint.admission.leave();
    call.invocation?.end();
    if (call.stream) {
      this.#streams.delete(call.stream);
      // Where an interceptor or the handler refused before it ran, the caller was told so otherwise.
      call.stream.abandon();
    }
    this.#calls.remove(call);
    const ms = now() - started;
    endpoint.stats.record(ms, failure && `${statusName(failure.code)}: ${failure.message}`);
    this.#deps.observer?.served(endpoint.method, ms, failure?.code ?? StatusCode.OK);
    endSpan(span, failure);
    by.answered();
    if (this.#calls.size === 0) for (const callback of this.#idle) callback();
  }

  /** Takes a call that streams. @throws RpcError INVALID_ARGUMENT when it does not say how much it takes. */
  #stream({ endpoint, reply }: ServedCall, invocation: Invocation, carried: RequestHeaders): ServedStream {
    const window = unpackWindow(unpackStream(carried.window)?.window);
    if (!window) throw new RpcError(StatusCode.INVALID_ARGUMENT, "A call of a streaming method names no window");
    const { connection, inbox, wheel, log } = this.#deps;
    const takesRequests = endpoint.method.requestStreaming;
    const stream = new ServedStream({ connection, inbox, wheel, reply, window, takesRequests, invocation, log });
    this.#streams.add(stream);
    // Taken while this replica leaves: it goes on elsewhere at once.
    if (this.#leaving) stream.leave();
    return stream;
  }
}
