// How many calls of one method run at once, and how long others may wait for their turn.
import { deadlineWithin, now } from "./deadline.ts";
import { RpcError, StatusCode } from "./status.ts";
import type { TimerWheel, WheelTimer } from "./timer-wheel.ts";

export interface AdmissionLimits {
  /** Calls that run at once. */
  readonly concurrency: number;
  /** Calls that wait. */
  readonly queue: number;
  /** Longest wait, in milliseconds: a call that waits longer would find its caller impatient, and those behind it too. */
  readonly maxWaitMs: number;
}

export const DEFAULT_ADMISSION: AdmissionLimits = { concurrency: 512, queue: 2048, maxWaitMs: 2000 };

interface Waiting {
  readonly enter: () => void;
  readonly timer: WheelTimer;
}

/** Admits calls of one method: at once, after a wait, or not at all. */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #wheel: TimerWheel;
  readonly #waiting = new Set<Waiting>();
  #running = 0;

  constructor(wheel: TimerWheel, limits: AdmissionLimits = DEFAULT_ADMISSION) {
    this.#limits = limits;
    this.#wheel = wheel;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Takes a place at once; false when all are taken. */
  tryEnter(): boolean {
    if (this.#running >= this.#limits.concurrency) return false;
    this.#running += 1;
    return true;
  }

  /**
   * Waits for a place, in the order of arrival.
   * @throws RpcError DEADLINE_EXCEEDED when the call's deadline passes first: it must not run; RESOURCE_EXHAUSTED when
   *   too many wait, or it has waited for too long.
   */
  enter(deadline: number): Promise<void> {
    if (this.#waiting.size === 0 && this.tryEnter()) return Promise.resolve();
    if (this.#waiting.size >= this.#limits.queue)
      throw exhausted("Too many calls wait for this method", "QUEUE_FULL", this.#limits.maxWaitMs);
    const patience = deadlineWithin(this.#limits.maxWaitMs, deadline);
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        enter: () => {
          waiting.timer.clear();
          resolve();
        },
        timer: this.#wheel.at(patience, () => {
          this.#waiting.delete(waiting);
          reject(
            patience < deadline
              ? exhausted("The call waited too long for its turn", "QUEUE_TIME", this.#limits.maxWaitMs)
              : expired(),
          );
        }),
      };
      // A deadline that has passed already is met here, not at the next tick.
      if (patience <= now()) {
        waiting.timer.clear();
        return reject(expired());
      }
      this.#waiting.add(waiting);
    });
  }

  /** Gives a place back, to the call that has waited longest. */
  leave(): void {
    const [next] = this.#waiting;
    if (!next) {
      this.#running -= 1;
      return;
    }
    this.#waiting.delete(next);
    next.enter();
  }
}

function exhausted(message: string, reason: string, retryAfterMs: number): RpcError {
  return new RpcError(StatusCode.RESOURCE_EXHAUSTED, message, { reason, retryAfterMs });
}

function expired(): RpcError {
  return new RpcError(StatusCode.DEADLINE_EXCEEDED, "The call waited in the queue until its deadline");
}
