// A hashed timer wheel (Varghese and Lauck, 1987): thousands of pending deadlines cost one real timer. Whoever waits is
// itself the entry of a list, so that setting and clearing a deadline allocates nothing.
import { now } from "./deadline.ts";

/** A deadline that waits. */
export interface WheelTimer {
  /** Ends the wait without a call. */
  clear(): void;
}

/** What can wait on a wheel: for one deadline at a time. */
export abstract class WheelEntry {
  /** For the wheel alone. */
  wheelTick = 0;
  wheelBefore: WheelEntry | undefined = undefined;
  wheelAfter: WheelEntry | undefined = undefined;

  /** The deadline has passed. */
  abstract onDue(): void;
}

/** What stands in a list and never comes due: the head of a slot's circle, and the place of whoever goes round in it. */
class Mark extends WheelEntry {
  override onDue(): void {
    // Never due.
  }
}

function circle(): Mark {
  const head = new Mark();
  head.wheelBefore = head;
  head.wheelAfter = head;
  return head;
}

function linkAfter(entry: WheelEntry, before: WheelEntry): void {
  const after = before.wheelAfter;
  entry.wheelBefore = before;
  entry.wheelAfter = after;
  before.wheelAfter = entry;
  if (after) after.wheelBefore = entry;
}

/** False when it stands in no list. */
function unlink(entry: WheelEntry): boolean {
  const { wheelBefore: before, wheelAfter: after } = entry;
  if (!before || !after) return false;
  before.wheelAfter = after;
  after.wheelBefore = before;
  entry.wheelBefore = undefined;
  entry.wheelAfter = undefined;
  return true;
}

class Timer extends WheelEntry implements WheelTimer {
  readonly #wheel: TimerWheel;
  readonly #fire: () => void;

  constructor(wheel: TimerWheel, fire: () => void) {
    super();
    this.#wheel = wheel;
    this.#fire = fire;
  }

  override onDue(): void {
    this.#fire();
  }

  clear(): void {
    this.#wheel.disarm(this);
  }
}

/** A power of two: a deadline further away than so many ticks is looked at once in each turn of the wheel. */
const SLOTS = 1024;

/** Calls back within one tick after a deadline, never before it. */
export class TimerWheel {
  readonly #tickMs: number;
  readonly #clock: () => number;
  readonly #slots = Array.from({ length: SLOTS }, circle);
  /** Goes round in a slot: entries before and behind it may come and leave meanwhile. */
  readonly #cursor = new Mark();
  #waiting = 0;
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

  /** Deadlines that wait. */
  get size(): number {
    return this.#waiting;
  }

  /** Calls `fire` once when `deadline` (monotonic milliseconds) has passed, unless cleared before. */
  at(deadline: number, fire: () => void): WheelTimer {
    const timer = new Timer(this, fire);
    this.arm(timer, deadline);
    return timer;
  }

  /** The same for an entry that waits for nothing else now. */
  arm(entry: WheelEntry, deadline: number): void {
    if (!this.#timer) this.#start();
    // A deadline that has passed is due at the next tick: the ticks before are never looked at again.
    const tick = Math.max(Math.ceil(deadline / this.#tickMs), this.#tick + 1);
    const slot = this.#slots[tick % SLOTS] as Mark;
    entry.wheelTick = tick;
    linkAfter(entry, slot.wheelBefore as WheelEntry);
    this.#waiting += 1;
  }

  /** Ends an entry's wait, if it waits. */
  disarm(entry: WheelEntry): void {
    if (unlink(entry)) this.#waiting -= 1;
  }

  /** Forgets every deadline. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const slot of this.#slots)
      for (let entry = slot.wheelAfter; entry && entry !== slot; entry = slot.wheelAfter) unlink(entry);
    this.#waiting = 0;
  }

  #start(): void {
    this.#tick = Math.floor(this.#clock() / this.#tickMs) - 1;
    this.#timer = setInterval(() => this.#advance(), this.#tickMs).unref();
  }

  #advance(): void {
    const current = Math.floor(this.#clock() / this.#tickMs);
    while (this.#tick < current && this.#waiting > 0) {
      // Counted first: what a call sets in turn belongs to a later tick.
      this.#tick += 1;
      this.#fire(this.#slots[this.#tick % SLOTS] as Mark);
    }
    this.#tick = Math.max(this.#tick, current);
    if (this.#waiting > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Fires what of a slot is due; the rest belongs to a later turn. */
  #fire(slot: Mark): void {
    const cursor = this.#cursor;
    linkAfter(cursor, slot);
    // A wheel that is stopped meanwhile takes the cursor out.
    for (let entry = cursor.wheelAfter; entry && entry !== slot; entry = cursor.wheelAfter) {
      unlink(cursor);
      linkAfter(cursor, entry);
      if (entry.wheelTick > this.#tick) continue;
      this.disarm(entry);
      entry.onDue();
    }
    unlink(cursor);
  }
}
