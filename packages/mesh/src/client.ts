// Calls to other services.
import { headers, type Msg, type MsgHdrs } from "@nats-io/transport-node";
import type { MethodContract } from "@warren/contract";
import type { Span } from "@opentelemetry/api";
import { Attempts } from "./attempts.ts";
import type { CallOptions } from "./call-context.ts";
import type { CallerSigner } from "./caller.ts";
import type { Connection } from "./connection.ts";
import { KnownContracts } from "./contracts.ts";
import { deadlineWithin, now, remainingMs } from "./deadline.ts";
import { CALLER_HEADER, ERROR_CODE_HEADER, header, packCall, RPC_HEADER, STREAM_HEADER } from "./headers.ts";
import { type Inbox, isNoResponders, type Route } from "./inbox.ts";
import type { Interceptor, OutgoingCall } from "./interceptor.ts";
import type { CallObserver } from "./observer.ts";
import { CallError, decodeStatus, type RpcError, StatusCode } from "./status.ts";
import { LazyStream } from "./stream/lazy-stream.ts";
import { StreamReader } from "./stream/reader.ts";
import { packStream, resumeToken } from "./stream/resume.ts";
import { cancelSubject, methodSubject, probeSubject } from "./subject.ts";
import { endSpan, inject, startClientSpan } from "./telemetry.ts";
import type { TimerWheel } from "./timer-wheel.ts";
import { UnaryCall } from "./unary-call.ts";

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

interface Attempt {
  readonly method: MethodContract;
  readonly subject: string;
  /** Of a method that streams its requests: what goes with the call, before any of them. */
  readonly request: Uint8Array;
  readonly requests?: AsyncIterable<Uint8Array> | undefined;
  /** Where a stream goes on that another replica left. */
  readonly resume?: string | undefined;
  readonly deadline: number;
  readonly attempt: number;
  readonly span: Span;
  readonly options: CallOptions;
}

const NOTHING = new Uint8Array();

/** Calls methods with messages that are already bytes; typed clients stand on it. */
export class Client {
  readonly #connection: Connection;
  readonly #inbox: Inbox;
  readonly #wheel: TimerWheel;
  readonly #signer: CallerSigner;
  readonly #pending = new Set<(error: RpcError) => void>();
  readonly #contracts = new KnownContracts();
  readonly #attempts: Attempts;
  readonly #observer: CallObserver | undefined;

  constructor({ connection, inbox, wheel, signer, interceptors, observer }: ClientDependencies) {
    this.#attempts = new Attempts(interceptors, this.#contracts);
    this.#observer = observer;
    this.#connection = connection;
    this.#inbox = inbox;
    this.#wheel = wheel;
    this.#signer = signer;
    connection.onLost(() => this.#failPending());
  }

  /**
   * One request, one answer.
   * @throws RpcError whatever the service answered; UNAVAILABLE, DEADLINE_EXCEEDED or CANCELLED when it did not.
   */
  async call(
    method: MethodContract,
    request: Uint8Array,
    options: CallOptions = {},
    key?: string,
  ): Promise<Uint8Array> {
    const span = startClientSpan(method.service, method.name);
    const started = now();
    try {
      const deadline = deadlineWithin(options.timeoutMs ?? method.timeoutMs, options.deadline);
      const response = await this.#attempts.make({ method, key, options, deadline }, (subject, attempt) =>
        this.#once({ method, subject, request, deadline, attempt, span, options }),
      );
      this.#ended(method, span, started);
      return response;
    } catch (error) {
      this.#ended(method, span, started, error as RpcError);
      throw error;
    }
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
        const span = startClientSpan(method.service, method.name);
        const started = now();
        const deadline = deadlineWithin(options.timeoutMs ?? method.timeoutMs, options.deadline);
        let reader: StreamReader | undefined;
        const open = async (resume?: string): Promise<StreamReader> => {
          reader = await this.#attempts.make({ method, key, options, deadline }, (subject, attempt) =>
            this.#open({ method, subject, request, requests, resume, deadline, attempt, span, options }),
          );
          return reader;
        };
        return new LazyStream({
          open,
          resume: (failure) => {
            const token = reader && resumeToken(failure, reader.received);
            return token === undefined ? undefined : open(token);
          },
          decode,
          onEnd: (failure) => this.#ended(method, span, started, failure),
        });
      },
    };
  }

  /**
   * One request to every replica of every service that serves the method; their answers, in the order they came.
   * @throws RpcError of one replica when all that answered failed.
   */
  async gather(method: MethodContract, request: Uint8Array, options: CallOptions = {}): Promise<Uint8Array[]> {
    const span = startClientSpan(method.service, method.name);
    const started = now();
    const deadline = deadlineWithin(options.timeoutMs ?? method.timeoutMs, options.deadline);
    const call: Attempt = {
      method,
      subject: methodSubject(method.service, method.name),
      request,
      deadline,
      attempt: 1,
      span,
      options,
    };
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
      this.#ended(method, span, started);
      return answers;
    } catch (error) {
      this.#ended(method, span, started, error as RpcError);
      throw error;
    }
  }

  /** Asks every replica once, until none has answered for a while. */
  async #askAll(call: Attempt): Promise<{ answers: Uint8Array[]; failures: RpcError[] }> {
    const { method, deadline } = call;
    const answers: Uint8Array[] = [];
    const failures: RpcError[] = [];
    await new Promise<void>((resolve, reject) => {
      const route = this.#inbox.open((message) => {
        if (isNoResponders(message)) return end();
        stall.clear();
        stall = this.#wheel.at(Math.min(deadline, now() + GATHER_STALL_MS), end);
        // One replica's failure does not spoil what the others know.
        const error = errorOf(message, method);
        if (error) failures.push(error);
        else answers.push(message.data);
      });
      const end = (): void => {
        route.close();
        stall.clear();
        resolve();
      };
      let stall = this.#wheel.at(Math.min(deadline, now() + 2 * GATHER_STALL_MS), end);
      try {
        this.#publish(call, route);
      } catch (error) {
        // Before the end, which would make of a question that was never asked one that nobody answered.
        reject(error as RpcError);
        end();
      }
    });
    return { answers, failures };
  }

  #ended(method: MethodContract, span: Span, started: number, failure?: RpcError): void {
    this.#observer?.called(method, now() - started, failure?.code ?? StatusCode.OK);
    endSpan(span, failure);
  }

  #once(attempt: Attempt): Promise<Uint8Array> {
    const { method, deadline, options } = attempt;
    const call = new UnaryCall({
      inbox: this.#inbox,
      wheel: this.#wheel,
      deadline,
      signal: options.signal,
      publish: (route) => this.#publish(attempt, route),
      probe: (route) => this.#tellReplicas(probeSubject(method.service), route),
      cancel: (route) => this.#tellReplicas(cancelSubject(method.service), route),
      errorOf: (message) => errorOf(message, method),
      expired: (silent) => expired(method, silent),
      cancelled: () => cancelled(method, options.signal),
      name: method.path,
    });
    const fail = (error: RpcError): void => call.fail(error);
    this.#pending.add(fail);
    return call.answer.finally(() => this.#pending.delete(fail));
  }

  #open(attempt: Attempt): Promise<StreamReader> {
    const { method, deadline, options } = attempt;
    const reader = new StreamReader({
      connection: this.#connection,
      inbox: this.#inbox,
      wheel: this.#wheel,
      deadline,
      signal: options.signal,
      requests: attempt.requests,
      onExpired: () => expired(method),
      onCancelled: () => cancelled(method, options.signal),
      errorOf: (message) => errorOf(message, method),
      onUnaccepted: (route) => this.#tellReplicas(cancelSubject(method.service), route),
    });
    const fail = (error: RpcError): void => reader.fail(error);
    this.#pending.add(fail);
    reader.onEnd(() => this.#pending.delete(fail));
    try {
      this.#publish(attempt, reader.route, packStream(reader.window, attempt.resume));
    } catch (error) {
      reader.fail(error as RpcError);
    }
    return reader.accepted.then(() => reader);
  }

  #publish(
    { method, subject, request, deadline, attempt, span, options }: Attempt,
    route: Route,
    window?: string,
  ): void {
    this.#connection.assertUp();
    const left = remainingMs(deadline);
    if (left <= 0) throw expired(method);
    const carried = headers();
    const { idempotencyKey } = options;
    const contracts = this.#contracts.of(method);
    carried.set(RPC_HEADER, packCall({ remainingMs: left, attempt, idempotencyKey, contracts }));
    carried.set(CALLER_HEADER, options.assertion ?? this.#signer.self());
    if (window) carried.set(STREAM_HEADER, window);
    inject(span, carried);
    assertFits(request, carried, this.#connection.maxPayload, method);
    this.#connection.nats.publish(subject, request, { reply: route.subject, headers: carried });
  }

  /** Tells every replica something of a call: the route is its name. A replica that has it may answer there. */
  #tellReplicas(subject: string, { subject: route }: Route): void {
    if (this.#connection.up) this.#connection.nats.publish(subject, route, { reply: route });
  }

  #failPending(): void {
    const error = new CallError(StatusCode.UNAVAILABLE, "The connection to NATS was lost while the call waited", {
      reason: "DISCONNECTED",
    });
    for (const fail of [...this.#pending]) fail(error);
  }
}

function errorOf(message: Msg, method: MethodContract): RpcError | undefined {
  if (isNoResponders(message))
    return new CallError(StatusCode.UNAVAILABLE, `No replica of ${method.service} answers now`, {
      reason: "NO_RESPONDERS",
      retryAfterMs: 1000,
    });
  return header(message.headers, ERROR_CODE_HEADER) === undefined ? undefined : decodeStatus(message.data);
}

function expired(method: MethodContract, silent = false): RpcError {
  const details = silent ? { reason: "NO_ANSWER" } : {};
  return new CallError(StatusCode.DEADLINE_EXCEEDED, `${method.path} did not answer within its deadline`, details);
}

function cancelled(method: MethodContract, signal: AbortSignal | undefined): RpcError {
  return new CallError(
    StatusCode.CANCELLED,
    `${method.path} was cancelled by its caller`,
    {},
    { cause: signal?.reason },
  );
}

/** What an encoded header line costs beside its name and value, and what the block itself costs. */
const HEADER_LINE = 4;
const HEADER_BLOCK = 16;

function assertFits(request: Uint8Array, carried: MsgHdrs, most: number, method: MethodContract): void {
  let size = request.length + HEADER_BLOCK;
  for (const [name, values] of carried) for (const value of values) size += name.length + value.length + HEADER_LINE;
  if (size <= most) return;
  throw new CallError(
    StatusCode.RESOURCE_EXHAUSTED,
    `A request of ${size} bytes to ${method.path} is over the mesh's limit of ${most}`,
    { reason: "TOO_LARGE" },
  );
}
