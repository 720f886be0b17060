// Calls to other services.
import type { MethodContract } from "@warren/contract";
import { Attempts, callSubject } from "./attempts.ts";
import type { CallOptions } from "./call-context.ts";
import { ClientStreams } from "./client-streams.ts";
import { KnownContracts } from "./contracts.ts";
import { deadlineWithin, now } from "./deadline.ts";
import { gather } from "./gather.ts";
import { hedged } from "./hedge.ts";
import type { Interceptor, OutgoingCall } from "./interceptor.ts";
import type { CallObserver } from "./observer.ts";
import { type OutgoingRequest, type RequestDependencies, Requests } from "./requests.ts";
import { CallError, type RpcError, StatusCode } from "./status.ts";
import { Targets } from "./targets.ts";
import { endSpan, startClientSpan } from "./telemetry.ts";
import { attemptOnce, DirectCall, type DirectCallOwner } from "./unary-attempt.ts";

export interface ClientDependencies extends RequestDependencies {
  /** Around every call, the first outermost. */
  readonly interceptors: readonly Interceptor<OutgoingCall>[];
  readonly observer?: CallObserver | undefined;
}

const NOTHING = new Uint8Array();
const asItIs = (answer: Uint8Array): Uint8Array => answer;

/** Calls methods with messages that are already bytes; typed clients stand on it. */
export class Client implements DirectCallOwner {
  readonly requests: Requests;
  readonly #contracts = new KnownContracts();
  readonly #attempts: Attempts;
  readonly #targets: Targets;
  readonly #streams: ClientStreams;
  readonly #observer: CallObserver | undefined;

  constructor({ interceptors, observer, ...deps }: ClientDependencies) {
    this.#attempts = new Attempts(interceptors, this.#contracts);
    this.#targets = new Targets((service) => this.#attempts.loadOf(service));
    this.requests = new Requests(deps, this.#contracts);
    this.#streams = new ClientStreams(this.requests, this.#attempts);
    this.#observer = observer;
    deps.connection.onLost(() => this.#failPending());
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
    const call = this.#started(method, request, decode, options, key);
    const { target } = call;
    try {
      const subject = key === undefined ? target.subject : callSubject(method, key);
      const hedges = method.idempotent && options.hedgeAfterMs !== undefined;
      if (hedges || !this.#attempts.isDirect(subject)) return this.#made(call);
      this.#attempts.enter(target.load);
      return new Promise((resolve, reject) =>
        new DirectCall(this, call, subject, resolve as (answer: unknown) => void, reject).start(call.started),
      );
    } catch (error) {
      this.#ended(call, error as RpcError);
      return Promise.reject(error as RpcError);
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
        const call = this.#started(method, request, asItIs, options, key, requests);
        return this.#streams.read(call, decode, (failure) => this.#ended(call, failure));
      },
    };
  }

  /**
   * One request to every replica of every service that serves the method; their answers, in the order they came.
   * @throws RpcError of one replica when all that answered failed.
   */
  async gather(method: MethodContract, request: Uint8Array, options: CallOptions = {}): Promise<Uint8Array[]> {
    const call = this.#started(method, request, asItIs, options);
    try {
      const answers = await gather(this.requests, this.#contracts, call);
      this.#ended(call);
      return answers;
    } catch (error) {
      this.#ended(call, error as RpcError);
      throw error;
    }
  }

  succeeded(call: OutgoingRequest): void {
    this.#attempts.leave(call.target.load);
    this.#ended(call);
  }

  async afterFailure(call: OutgoingRequest, subject: string, error: RpcError): Promise<unknown> {
    try {
      const attempt = (to: string, count: number): Promise<Uint8Array> =>
        attemptOnce(this.requests, call, to, count, now());
      return await this.#read(call, this.#attempts.recover(call, attempt, subject, error));
    } finally {
      this.#attempts.leave(call.target.load);
    }
  }

  /** A call that begins now. */
  #started<T>(
    method: MethodContract,
    request: Uint8Array,
    decode: (answer: Uint8Array) => T,
    options: CallOptions,
    key?: string,
    requests?: AsyncIterable<Uint8Array>,
  ): OutgoingRequest<T> {
    const started = now();
    const target = this.#targets.of(method);
    const span = startClientSpan(target.spans);
    const deadline = deadlineWithin(options.timeoutMs ?? method.timeoutMs, options.deadline, started);
    return { target, method, key, options, deadline, request, requests, span, started, decode };
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

  #hedged(call: OutgoingRequest, subject: string, count: number): Promise<Uint8Array> {
    const { method, options } = call;
    const { hedgeAfterMs: afterMs, signal } = options;
    const { requests } = this;
    if (afterMs === undefined || !method.idempotent) return attemptOnce(requests, call, subject, count, now());
    const withdraw = (): boolean => this.#attempts.withdraw();
    return hedged({ afterMs, withdraw, wheel: requests.wheel, signal }, (own) =>
      attemptOnce(requests, { ...call, options: { ...options, signal: own } }, subject, count, now()),
    );
  }

  #ended({ method, span, started }: OutgoingRequest, failure?: RpcError): void {
    this.#observer?.called(method, now() - started, failure?.code ?? StatusCode.OK);
    endSpan(span, failure);
  }

  #failPending(): void {
    const error = new CallError(StatusCode.UNAVAILABLE, "The connection to NATS was lost while the call waited", {
      reason: "DISCONNECTED",
    });
    this.requests.inbox.fail(error);
    this.#streams.fail(error);
  }
}
