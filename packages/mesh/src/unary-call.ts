// One attempt at a unary call: waits for the answer, the deadline, the caller's signal, or the loss of who served it.
// One object for all of that: it stands in the timer wheel and at its route itself.
import type { Msg } from "@nats-io/transport-node";
import type { MethodContract } from "@warren/contract";
import { now } from "./deadline.ts";
import { ALIVE_HEADER } from "./headers.ts";
import { type Inbox, isNoResponders, type Receiver, type ReusableRoute, type RoutePool } from "./inbox.ts";
import { CallError, type RpcError, StatusCode } from "./status.ts";
import { cancelSubject, probeSubject } from "./subject.ts";
import { type TimerWheel, WheelEntry } from "./timer-wheel.ts";
import { hasHeaders, headerBlock, headerIn } from "./wire.ts";

/** Silence after which a caller asks whether anybody still works on its call, in milliseconds. */
const PROBE_EVERY_MS = 1000;
/** Questions without an answer after which a call counts as lost: a replica whose event loop is busy gets a second one. */
const PROBES_MISSED = 3;

/** What an attempt needs of its client. */
export interface UnaryCallHost {
  readonly inbox: Inbox;
  readonly wheel: TimerWheel;
  /** Tells every replica something of the call whose answer is awaited at a route. */
  tellReplicas(subject: string, route: string): void;
  /** The error that a message with headers carries in place of an answer; undefined when it carries an answer. */
  errorOf(message: Msg, method: MethodContract): RpcError | undefined;
  /** The error when the deadline passes; silent: nobody said that the call is worked on. */
  expired(method: MethodContract, silent: boolean): RpcError;
  cancelled(method: MethodContract, signal: AbortSignal | undefined): RpcError;
}

export interface UnaryCallOptions {
  readonly method: MethodContract;
  readonly deadline: number;
  readonly options: { readonly signal?: AbortSignal | undefined };
  /** Routes that this service's answers may come by again. */
  readonly target: { readonly pool: RoutePool | undefined };
}

/** A unary call that waits for its answer; what becomes of that is up to who extends it. */
export abstract class UnaryCall extends WheelEntry implements Receiver {
  readonly #host: UnaryCallHost;
  readonly #options: UnaryCallOptions;
  #route: ReusableRoute | undefined;
  #abort: (() => void) | undefined;
  #probes = 0;
  #probed = false;

  constructor(host: UnaryCallHost, options: UnaryCallOptions) {
    super();
    this.#host = host;
    this.#options = options;
  }

  /** Sends the request. What it throws fails the call. */
  protected abstract send(replyTo: string): void;
  /** The answer. Called once, or {@link failed} is. */
  protected abstract answered(answer: Uint8Array): void;
  protected abstract failed(error: RpcError): void;

  /** Sends the request and waits; `time` is now. */
  start(time: number): void {
    const { deadline, options, target, method } = this.#options;
    const { signal } = options;
    if (signal?.aborted) return this.failed(this.#host.cancelled(method, signal));
    const route = this.#host.inbox.lease(this, target.pool);
    this.#route = route;
    if (signal) this.#listenTo(signal);
    this.#wait(deadline, time);
    try {
      this.send(route.subject);
    } catch (error) {
      this.fail(error as RpcError);
    }
  }

  /** Ends the wait with an error. */
  fail(error: RpcError): void {
    if (this.#finish(false)) this.failed(error);
  }

  answer(data: Uint8Array): void {
    if (this.#finish(true)) this.answered(data);
  }

  receive(message: Msg): void {
    if (!hasHeaders(message)) return this.answer(message.data);
    if (headerIn(headerBlock(message), ALIVE_HEADER) !== undefined) {
      this.#probes = 0;
      return;
    }
    // Nobody hears the question: whoever had the call is gone.
    if (this.#probes > 0 && isNoResponders(message)) return this.fail(this.#lost());
    const error = this.#host.errorOf(message, this.#options.method);
    if (!error) return this.answer(message.data);
    if (this.#finish(true)) this.failed(error);
  }

  override onDue(): void {
    const { deadline, method } = this.#options;
    const time = now();
    if (time >= deadline) return this.fail(this.#host.expired(method, this.#probes > 0));
    if (this.#probes >= PROBES_MISSED) return this.fail(this.#lost());
    this.#probes += 1;
    this.#probed = true;
    this.#host.tellReplicas(probeSubject(method.service), this.#route?.subject ?? "");
    this.#wait(deadline, time);
  }

  #wait(deadline: number, time: number): void {
    this.#host.wheel.arm(this, Math.min(deadline, time + PROBE_EVERY_MS));
  }

  #listenTo(signal: AbortSignal): void {
    this.#abort = () => {
      const { method } = this.#options;
      this.#host.tellReplicas(cancelSubject(method.service), this.#route?.subject ?? "");
      this.fail(this.#host.cancelled(method, signal));
    };
    signal.addEventListener("abort", this.#abort);
  }

  #lost(): RpcError {
    const text = `The replica that served ${this.#options.method.path} is gone; whether the call took effect is not known`;
    return new CallError(StatusCode.UNAVAILABLE, text, { reason: "CALL_LOST" });
  }

  /**
   * Ends the wait; false when it has ended before.
   * @param byAnswer Whether the one answer has come: after that the route is free for another call. Word of a question that
   *   was asked may still come, though.
   */
  #finish(byAnswer: boolean): boolean {
    const route = this.#route;
    if (!route) return false;
    const { target, options } = this.#options;
    this.#route = undefined;
    this.#host.inbox.release(route, byAnswer && !this.#probed ? target.pool : undefined);
    this.#host.wheel.disarm(this);
    if (this.#abort) options.signal?.removeEventListener("abort", this.#abort);
    return true;
  }
}
