// Calls to other services.
import type { Msg } from "@nats-io/transport-node";
import type { MethodContract } from "@warren/contract";
import type { Span } from "@opentelemetry/api";
import { Attempts, callSubject, type PlannedCall, type ServiceLoad } from "./attempts.ts";
import type { CallOptions } from "./call-context.ts";
import type { CallerSigner } from "./caller.ts";
import type { Connection } from "./connection.ts";
import { KnownContracts } from "./contracts.ts";
import { deadlineWithin, now, remainingMs } from "./deadline.ts";
import { hedged } from "./hedge.ts";
import { CallerLines, ERROR_CODE_HEADER, packCall, RPC_HEADER, STREAM_HEADER, TRACE_HEADER } from "./headers.ts";
import { type Inbox, isNoResponders, RoutePool } from "./inbox.ts";
import type { Interceptor, OutgoingCall } from "./interceptor.ts";
import type { CallObserver } from "./observer.ts";
import { CallError, decodeStatus, type RpcError, StatusCode } from "./status.ts";
import { LazyStream } from "./stream/lazy-stream.ts";
import { StreamReader } from "./stream/reader.ts";
import { packStream, resumeToken } from "./stream/resume.ts";
import { cancelSubject, methodSubject } from "./subject.ts";
import { services, type ServicePolicy } from "./policy/policy.ts";
import { type CallSpans, callSpans, endSpan, startClientSpan, traceparentOf } from "./telemetry.ts";
import type { TimerWheel } from "./timer-wheel.ts";
import { UnaryCall, type UnaryCallHost } from "./unary-call.ts";
import { HEADER_BLOCK_BYTES, hasHeaders, headerBlock, headerIn, Wire } from "./wire.ts";

/** How long {@link Client.gather} waits for one more answer after the last, in milliseconds. */
const GATHER_STALL_MS = 150;

export interface ClientDependencies {
  readonly connection: Connection;
  readonly inbox: Inbox;
  readonly wheel: TimerWheel;
  readonly signer: CallerSigner;
  /** Around every call, the first outermost. */
  readonly interceptors: readonly Interceptor<OutgoingCall>[];
  readonly observer?: CallObserver | undefined;
}

/** What the calls of one method share. */
interface Target {
  readonly method: MethodContract;
  /** Where calls without a key go. */
  readonly subject: string;
  readonly spans: CallSpans;
  readonly load: ServiceLoad;
  /** Undefined where the routes of answers must be new each time. */
  readonly pool: RoutePool | undefined;
}

/** A call with what it sends. */
interface OutgoingRequest<T = unknown> extends PlannedCall {
  readonly target: Target;
  /** Of a method that streams its requests: what goes with the call, before any of them. */
  readonly request: Uint8Array;
  readonly requests?: AsyncIterable<Uint8Array> | undefined;
  /** When it was made, in monotonic milliseconds. */
  readonly started: number;
  readonly span: Span;
  /** Reads the answer to a unary call. What it throws fails the call. */
  readonly decode: (answer: Uint8Array) => T;
}

const NOTHING = new Uint8Array();
const asItIs = (answer: Uint8Array): Uint8Array => answer;

/** Calls methods with messages that are already bytes; typed clients stand on it. */
export class Client implements UnaryCallHost {
  readonly inbox: Inbox;
  readonly wheel: TimerWheel;
  readonly #connection: Connection;
  readonly #wire: Wire;
  readonly #signer: CallerSigner;
  readonly #contracts = new KnownContracts();
  readonly #callers = new CallerLines();
  readonly #targets = new Map<MethodContract, Target>();
  readonly #pools = new Map<string, RoutePool>();
  readonly #streams = new Set<(error: RpcError) => void>();
  readonly #attempts: Attempts;
  readonly #observer: CallObserver | undefined;

  constructor({ connection, inbox, wheel, signer, interceptors, observer }: ClientDependencies) {
    this.#attempts = new Attempts(interceptors, this.#contracts);
    this.#observer = observer;
    this.#connection = connection;
    this.#wire = new Wire(connection.nats);
    this.inbox = inbox;
    this.wheel = wheel;
    this.#signer = signer;
    connection.onLost(() => this.#failPending());
  }

  /**
   * One request, one answer, read by `decode`.
   * @throws RpcError whatever the service answered; UNAVAILABLE, DEADLINE_EXCEEDED or CANCELLED when it did not.
   */
  call<T>(
    method: MethodContract,
    request: Uint8Array,
    decode: (answer: Uint8Array) => T,
    options: CallOptions = {},
    key?: string,
  ): Promise<T> {
    const time = now();
    const target = this.#target(method);
    const span = startClientSpan(target.spans);
    const deadline = deadlineWithin(options.timeoutMs ?? method.timeoutMs, options.deadline, time);
    const call: OutgoingRequest<T> = { target, method, key, options, deadline, request, span, started: time, decode };
    try {
      const subject = key === undefined ? target.subject : callSubject(method, key);
      const hedges = method.idempotent && options.hedgeAfterMs !== undefined;
      if (hedges || !this.#attempts.isDirect(subject)) return this.#made(call);
      this.#attempts.enter(target.load);
      return new Promise((resolve, reject) =>
        new DirectCall(this, call, subject, resolve as Resolve, reject).start(time),
      );
    } catch (error) {
      this.#ended(call, error as RpcError);
      return Promise.reject(error as RpcError);
    }
  }

  /** A call whose first attempt was answered. */
  succeeded(call: OutgoingRequest): void {
    this.#attempts.leave(call.target.load);
    this.#ended(call);
  }

  /** What becomes of a call whose first attempt failed. */
  async afterFailure(call: OutgoingRequest, subject: string, error: RpcError): Promise<unknown> {
    try {
      const attempt = (to: string, count: number): Promise<Uint8Array> => this.#once(call, to, count);
      return await this.#read(call, this.#attempts.recover(call, attempt, subject, error));
    } finally {
      this.#attempts.leave(call.target.load);
    }
  }

  /** A call with something around it: interceptors, a circuit that is not closed, or a second try beside the first. */
  #made<T>(call: OutgoingRequest<T>): Promise<T> {
    const attempts = this.#attempts.make(call, (subject, count) => this.#hedged(call, subject, count));
    return this.#read(call, attempts);
  }

  async #read<T>(call: OutgoingRequest<T>, made: Promise<Uint8Array>): Promise<T> {
    let answer: Uint8Array;
    try {
      answer = await made;
    } catch (error) {
      this.#ended(call, error as RpcError);
      throw error;
    }
    this.#ended(call);
    return call.decode(answer);
  }

  /**
   * A call that streams: many answers, each read by `decode`, to one request or to many. Ending the iteration cancels it at
   * the service. Where its handler can, it goes on at another replica when its own leaves.
   */
  stream<T>(
    method: MethodContract,
    given: Uint8Array | AsyncIterable<Uint8Array>,
    decode: (message: Uint8Array) => T,
    options: CallOptions = {},
    key?: string,
  ): AsyncIterable<T> {
    const request = given instanceof Uint8Array ? given : NOTHING;
    const requests = given instanceof Uint8Array ? undefined : given;
    // A stream begins when it is read, and each reading is a call of its own.
    return {
      [Symbol.asyncIterator]: () => {
        const started = now();
        const target = this.#target(method);
        const span = startClientSpan(target.spans);
        const deadline = deadlineWithin(options.timeoutMs ?? method.timeoutMs, options.deadline, started);
        const call: OutgoingRequest = {
          target,
          method,
          key,
          options,
          deadline,
          request,
          requests,
          span,
          started,
          decode: asItIs,
        };
        let reader: StreamReader | undefined;
        const open = async (resume?: string): Promise<StreamReader> => {
          const attempt = (subject: string, count: number) => this.#open(call, subject, count, resume);
          reader = await this.#attempts.make(call, attempt);
          return reader;
        };
        return new LazyStream({
          open,
          resume: (failure) => {
            const token = reader && resumeToken(failure, reader.received);
            return token === undefined ? undefined : open(token);
          },
          decode,
          onEnd: (failure) => this.#ended(call, failure),
        });
      },
    };
  }

  /**
   * One request to every replica of every service that serves the method; their answers, in the order they came.
   * @throws RpcError of one replica when all that answered failed.
   */
  async gather(method: MethodContract, request: Uint8Array, options: CallOptions = {}): Promise<Uint8Array[]> {
    const started = now();
    const target = this.#target(method);
    const span = startClientSpan(target.spans);
    const deadline = deadlineWithin(options.timeoutMs ?? method.timeoutMs, options.deadline, started);
    const call = { target, method, key: undefined, options, deadline, request, span, started, decode: asItIs };
    try {
      let { answers, failures } = await this.#askAll(call);
      let learned = failures.map((failure) => this.#contracts.learn(method, failure));
      if (learned.includes(true)) {
        // Replicas of another version that is as good: all are asked again, and now all answer.
        ({ answers, failures } = await this.#askAll(call));
        learned = failures.map((failure) => this.#contracts.learn(method, failure));
      }
      const failure = learned.find((each) => each !== true);
      if (!answers.length && failure) throw failure;
      this.#ended(call);
      return answers;
    } catch (error) {
      this.#ended(call, error as RpcError);
      throw error;
    }
  }

  /** Asks every replica once, until none has answered for a while. */
  async #askAll(call: OutgoingRequest): Promise<{ answers: Uint8Array[]; failures: RpcError[] }> {
    const { method, deadline } = call;
    const answers: Uint8Array[] = [];
    const failures: RpcError[] = [];
    await new Promise<void>((resolve, reject) => {
      const route = this.inbox.open((message) => {
        if (isNoResponders(message)) return end();
        stall.clear();
        stall = this.wheel.at(Math.min(deadline, now() + GATHER_STALL_MS), end);
        // One replica's failure does not spoil what the others know.
        const error = this.errorOf(message, method);
        if (error) failures.push(error);
        else answers.push(message.data);
      });
      const end = (): void => {
        route.close();
        stall.clear();
        resolve();
      };
      let stall = this.wheel.at(Math.min(deadline, now() + 2 * GATHER_STALL_MS), end);
      try {
        this.publish(call, methodSubject(method.service, method.name), 1, route.subject);
      } catch (error) {
        // Before the end, which would make of a question that was never asked one that nobody answered.
        reject(error as RpcError);
        end();
      }
    });
    return { answers, failures };
  }

  #ended({ method, span, started }: OutgoingRequest, failure?: RpcError): void {
    this.#observer?.called(method, now() - started, failure?.code ?? StatusCode.OK);
    endSpan(span, failure);
  }

  /** Sends the request of an attempt. @throws RpcError when it cannot go: disconnected, late, too large. */
  publish(call: OutgoingRequest, subject: string, attempt: number, replyTo: string, window?: string): void {
    const { method, deadline, request, span, options } = call;
    this.#connection.assertUp();
    const left = remainingMs(deadline);
    if (left <= 0) throw this.expired(method);
    const { idempotencyKey, assertion } = options;
    const contracts = this.#contracts.of(method);
    let text = `${RPC_HEADER}: ${packCall({ remainingMs: left, attempt, idempotencyKey, contracts })}\r\n`;
    const traceparent = traceparentOf(span);
    if (traceparent) text += `${TRACE_HEADER}: ${traceparent}\r\n`;
    if (window) text += `${STREAM_HEADER}: ${window}\r\n`;
    const lines = { text, bytes: this.#callers.of(assertion ?? this.#signer.self()) };
    assertFits(request.length + text.length + lines.bytes.length + HEADER_BLOCK_BYTES, this.#connection, method);
    this.#wire.send(subject, replyTo, request, lines);
  }

  tellReplicas(subject: string, route: string): void {
    // The route is the call's name. A replica that has it may answer there.
    if (this.#connection.up) this.#connection.nats.publish(subject, route, { reply: route });
  }

  errorOf(message: Msg, method: MethodContract): RpcError | undefined {
    if (isNoResponders(message))
      return new CallError(StatusCode.UNAVAILABLE, `No replica of ${method.service} answers now`, {
        reason: "NO_RESPONDERS",
        retryAfterMs: 1000,
      });
    const failed = hasHeaders(message) && headerIn(headerBlock(message), ERROR_CODE_HEADER) !== undefined;
    return failed ? decodeStatus(message.data) : undefined;
  }

  expired(method: MethodContract, silent = false): RpcError {
    const details = silent ? { reason: "NO_ANSWER" } : {};
    return new CallError(StatusCode.DEADLINE_EXCEEDED, `${method.path} did not answer within its deadline`, details);
  }

  cancelled(method: MethodContract, signal: AbortSignal | undefined): RpcError {
    const text = `${method.path} was cancelled by its caller`;
    return new CallError(StatusCode.CANCELLED, text, {}, { cause: signal?.reason });
  }

  #hedged(call: OutgoingRequest, subject: string, count: number): Promise<Uint8Array> {
    const { method, options } = call;
    const { hedgeAfterMs: afterMs, signal } = options;
    if (afterMs === undefined || !method.idempotent) return this.#once(call, subject, count);
    const withdraw = (): boolean => this.#attempts.withdraw();
    return hedged({ afterMs, withdraw, wheel: this.wheel, signal }, (own) =>
      this.#once({ ...call, options: { ...options, signal: own } }, subject, count),
    );
  }

  #once(call: OutgoingRequest, subject: string, attempt: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) =>
      new AttemptedCall(this, call, subject, attempt, resolve, reject).start(now()),
    );
  }

  #open(call: OutgoingRequest, subject: string, attempt: number, resume?: string): Promise<StreamReader> {
    const { method, deadline, options } = call;
    const reader = new StreamReader({
      connection: this.#connection,
      inbox: this.inbox,
      wheel: this.wheel,
      deadline,
      signal: options.signal,
      requests: call.requests,
      onExpired: () => this.expired(method),
      onCancelled: () => this.cancelled(method, options.signal),
      errorOf: (message) => this.errorOf(message, method),
      onUnaccepted: (route) => this.tellReplicas(cancelSubject(method.service), route.subject),
    });
    const fail = (error: RpcError): void => reader.fail(error);
    this.#streams.add(fail);
    reader.onEnd(() => this.#streams.delete(fail));
    try {
      this.publish(call, subject, attempt, reader.route.subject, packStream(reader.window, resume));
    } catch (error) {
      reader.fail(error as RpcError);
    }
    return reader.accepted.then(() => reader);
  }

  #target(method: MethodContract): Target {
    let target = this.#targets.get(method);
    if (!target) {
      const spans = callSpans(method.service, method.name);
      const load = this.#attempts.loadOf(method.service);
      const subject = methodSubject(method.service, method.name);
      const pool = this.#poolOf(method.service);
      this.#targets.set(method, (target = { method, subject, spans, load, pool }));
    }
    return target;
  }

  /** Only where one service answers: whoever has answered a call must not know where others' answers are awaited. */
  #poolOf(service: string): RoutePool | undefined {
    const policies: readonly ServicePolicy[] = Object.values(services);
    if (policies.filter(({ serves }) => serves.includes(service)).length !== 1) return undefined;
    let pool = this.#pools.get(service);
    if (!pool) this.#pools.set(service, (pool = new RoutePool()));
    return pool;
  }

  #failPending(): void {
    const error = new CallError(StatusCode.UNAVAILABLE, "The connection to NATS was lost while the call waited", {
      reason: "DISCONNECTED",
    });
    this.inbox.fail(error);
    for (const fail of [...this.#streams]) fail(error);
  }
}

/** One attempt of a call, whoever waits for it. */
abstract class Attempt extends UnaryCall {
  protected readonly client: Client;
  protected readonly call: OutgoingRequest;
  protected readonly subject: string;
  readonly #attempt: number;

  constructor(client: Client, call: OutgoingRequest, subject: string, attempt: number) {
    super(client, call);
    this.client = client;
    this.call = call;
    this.subject = subject;
    this.#attempt = attempt;
  }

  protected override send(replyTo: string): void {
    this.client.publish(this.call, this.subject, this.#attempt, replyTo);
  }
}

type Resolve<T = unknown> = (answer: T | Promise<T>) => void;
type Reject = (error: RpcError) => void;

/** The first attempt of a call that has nothing around it, and settles the call itself. */
class DirectCall extends Attempt {
  readonly #resolve: Resolve;
  readonly #reject: Reject;

  constructor(client: Client, call: OutgoingRequest, subject: string, resolve: Resolve, reject: Reject) {
    super(client, call, subject, 1);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  protected override answered(answer: Uint8Array): void {
    this.client.succeeded(this.call);
    let read: unknown;
    try {
      read = this.call.decode(answer);
    } catch (error) {
      return this.#reject(error as RpcError);
    }
    this.#resolve(read);
  }

  protected override failed(error: RpcError): void {
    this.#resolve(this.client.afterFailure(this.call, this.subject, error));
  }
}

/** Any other attempt, which settles a promise of its own. */
class AttemptedCall extends Attempt {
  readonly #resolve: Resolve<Uint8Array>;
  readonly #reject: Reject;

  constructor(
    client: Client,
    call: OutgoingRequest,
    subject: string,
    attempt: number,
    resolve: Resolve<Uint8Array>,
    reject: Reject,
  ) {
    super(client, call, subject, attempt);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  protected override answered(answer: Uint8Array): void {
    this.#resolve(answer);
  }

  protected override failed(error: RpcError): void {
    this.#reject(error);
  }
}

/** All of a request counts: NATS' limit is for payload and headers together. */
function assertFits(size: number, { maxPayload }: Connection, method: MethodContract): void {
  if (size <= maxPayload) return;
  throw new CallError(
    StatusCode.RESOURCE_EXHAUSTED,
    `A request of ${size} bytes to ${method.path} is over the mesh's limit of ${maxPayload}`,
    { reason: "TOO_LARGE" },
  );
}
