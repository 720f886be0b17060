// A hashed timer wheel (Varghese and Lauck, 1987): thousands of pending deadlines cost one real timer, and setting and
// clearing one costs a set insertion and a deletion.
import { now } from "./deadline.ts";

/** A deadline that waits. */
export interface WheelTimer {
  /** Ends the wait without a call. */
  clear(): void;
}

interface Slot extends WheelTimer {
  readonly due: number;
  readonly fire: () => void;
}

/** Calls back within one tick after a deadline, never before it. */
export class TimerWheel {
  readonly #tickMs: number;
  readonly #slots = new Map<number, Set<Slot>>();
  #timer: NodeJS.Timeout | undefined;
  #tick = 0;

  /** @param tickMs How late a call may be, in milliseconds. */
  constructor(tickMs = 5) {
    this.#tickMs = tickMs;
  }

  /** Calls `fire` once when `deadline` (monotonic milliseconds) has passed, unless cleared before. */
  at(deadline: number, fire: () => void): WheelTimer {
    const tick = Math.max(Math.ceil(deadline / this.#tickMs), this.#timer ? this.#tick + 1 : 0);
    let slot = this.#slots.get(tick);
    if (!slot) this.#slots.set(tick, (slot = new Set()));
    const timer: Slot = { due: tick, fire, clear: () => slot.delete(timer) };
    slot.add(timer);
    this.#start();
    return timer;
  }

  /** Forgets every deadline. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#slots.clear();
  }

  #start(): void {
    if (this.#timer) return;
    this.#tick = Math.floor(now() / this.#tickMs) - 1;
    this.#timer = setInterval(() => this.#advance(), this.#tickMs).unref();
  }

  #advance(): void {
    const current = Math.floor(now() / this.#tickMs);
    for (; this.#tick < current; this.#tick++) {
      const slot = this.#slots.get(this.#tick + 1);
      if (!slot) continue;
      this.#slots.delete(this.#tick + 1);
      for (const timer of slot) timer.fire();
    }
    if (this.#slots.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
