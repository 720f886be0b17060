// One attempt at a unary call: waits for the answer, the deadline, the caller's signal, or the loss of who served it.
import type { Msg } from "@nats-io/transport-node";
import { ALIVE_HEADER, header } from "./headers.ts";
import { type Inbox, isNoResponders, type Route } from "./inbox.ts";
import { now } from "./deadline.ts";
import { CallError, type RpcError, StatusCode } from "./status.ts";
import type { TimerWheel, WheelTimer } from "./timer-wheel.ts";

/** Silence after which a caller asks whether anybody still works on its call, in milliseconds. */
const PROBE_EVERY_MS = 1000;
/** Questions without an answer after which a call counts as lost: a replica whose event loop is busy gets a second one. */
const PROBES_MISSED = 3;

export interface UnaryCallOptions {
  readonly inbox: Inbox;
  readonly wheel: TimerWheel;
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
  /** Sends the request. */
  readonly publish: (route: Route) => void;
  /** Asks all replicas whether one of them works on the call. */
  readonly probe: (route: Route) => void;
  /** Tells all replicas that nobody waits any more. */
  readonly cancel: (route: Route) => void;
  /** The error that a message carries in place of an answer. */
  readonly errorOf: (message: Msg) => RpcError | undefined;
  /** The error when the deadline passes; silent: nobody said that the call is worked on. */
  readonly expired: (silent: boolean) => RpcError;
  readonly cancelled: () => RpcError;
  /** For messages: `warren.agent.v1.AgentService/Chat`. */
  readonly name: string;
}

/** A unary call that waits for its answer. */
export class UnaryCall {
  readonly answer: Promise<Uint8Array>;
  readonly #options: UnaryCallOptions;
  readonly #route: Route;
  readonly #timers: WheelTimer[] = [];
  readonly #abort = (): void => {
    this.#options.cancel(this.#route);
    this.fail(this.#options.cancelled());
  };
  #resolve!: (answer: Uint8Array) => void;
  #reject!: (error: RpcError) => void;
  #probes = 0;

  constructor(options: UnaryCallOptions) {
    this.#options = options;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#route = options.inbox.open((message) => this.#receive(message));
    if (options.signal?.aborted) {
      this.fail(options.cancelled());
      return;
    }
    options.signal?.addEventListener("abort", this.#abort);
    this.#timers.push(options.wheel.at(options.deadline, () => this.fail(options.expired(this.#probes > 0))));
    this.#watch();
    try {
      options.publish(this.#route);
    } catch (error) {
      this.fail(error as RpcError);
    }
  }

  /** Ends the wait with an error. */
  fail(error: RpcError): void {
    this.#finish();
    this.#reject(error);
  }

  #receive(message: Msg): void {
    if (header(message.headers, ALIVE_HEADER)) {
      this.#probes = 0;
      return;
    }
    // Nobody hears the question: whoever had the call is gone.
    if (this.#probes > 0 && isNoResponders(message)) return this.fail(this.#lost());
    const error = this.#options.errorOf(message);
    this.#finish();
    if (error) this.#reject(error);
    else this.#resolve(message.data);
  }

  #watch(): void {
    this.#timers[1] = this.#options.wheel.at(now() + PROBE_EVERY_MS, () => {
      if (this.#probes >= PROBES_MISSED) return this.fail(this.#lost());
      this.#probes += 1;
      this.#options.probe(this.#route);
      this.#watch();
    });
  }

  #lost(): RpcError {
    const text = `The replica that served ${this.#options.name} is gone; whether the call took effect is not known`;
    return new CallError(StatusCode.UNAVAILABLE, text, { reason: "CALL_LOST" });
  }

  #finish(): void {
    this.#route.close();
    for (const timer of this.#timers) timer.clear();
    this.#options.signal?.removeEventListener("abort", this.#abort);
  }
}
