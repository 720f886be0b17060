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
  readonly #clock: () => number;
  readonly #slots = new Map<number, Set<Slot>>();
  #timer: NodeJS.Timeout | undefined;
  #tick = 0;

  /**
   * @param tickMs How late a call may be, in milliseconds.
   * @param clock The clock of the deadlines, in milliseconds; it never goes back.
   */
  constructor(tickMs = 5, clock: () => number = now) {
    this.#tickMs = tickMs;
    this.#clock = clock;
  }

  /** Calls `fire` once when `deadline` (monotonic milliseconds) has passed, unless cleared before. */
  at(deadline: number, fire: () => void): WheelTimer {
    this.#start();
    // A deadline that has passed is due at the next tick: the ticks before are never looked at again.
    const tick = Math.max(Math.ceil(deadline / this.#tickMs), this.#tick + 1);
    let slot = this.#slots.get(tick);
    if (!slot) this.#slots.set(tick, (slot = new Set()));
    const timer: Slot = { due: tick, fire, clear: () => this.#clear(tick, slot, timer) };
    slot.add(timer);
    return timer;
  }

  /** Forgets every deadline. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#slots.clear();
  }

  #clear(tick: number, slot: Set<Slot>, timer: Slot): void {
    slot.delete(timer);
    // An emptied slot of a far deadline would wait for its time.
    if (slot.size === 0 && this.#slots.get(tick) === slot) this.#slots.delete(tick);
  }

  #start(): void {
    if (this.#timer) return;
    this.#tick = Math.floor(this.#clock() / this.#tickMs) - 1;
    this.#timer = setInterval(() => this.#advance(), this.#tickMs).unref();
  }

  #advance(): void {
    const current = Math.floor(this.#clock() / this.#tickMs);
    while (this.#tick < current) {
      // Counted first: what a call sets in turn belongs to a later tick.
      this.#tick += 1;
      const slot = this.#slots.get(this.#tick);
      if (!slot) continue;
      this.#slots.delete(this.#tick);
      for (const timer of slot) timer.fire();
    }
    if (this.#slots.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
