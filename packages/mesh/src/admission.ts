// How many calls of one method run at once, and how long others may wait for their turn.
import { remainingMs } from "./deadline.ts";
import { RpcError, StatusCode } from "./status.ts";

export interface AdmissionLimits {
  /** Calls that run at once. */
  readonly concurrency: number;
  /** Calls that wait. */
  readonly queue: number;
}

export const DEFAULT_ADMISSION: AdmissionLimits = { concurrency: 512, queue: 2048 };

/** Admits calls of one method: at once, after a wait, or not at all. */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #waiting: { deadline: number; enter: (admitted: boolean) => void }[] = [];
  #running = 0;

  constructor(limits: AdmissionLimits = DEFAULT_ADMISSION) {
    this.#limits = limits;
  }

  get running(): number {
    return this.#running;
  }

  /** Takes a place at once; false when all are taken. */
  tryEnter(): boolean {
    if (this.#running >= this.#limits.concurrency) return false;
    this.#running += 1;
    return true;
  }

  /**
   * Waits for a place.
   * @returns false when the call's deadline passed first: it must not run.
   * @throws RpcError RESOURCE_EXHAUSTED when too many wait.
   */
  enter(deadline: number): Promise<boolean> {
    if (this.tryEnter()) return Promise.resolve(true);
    if (this.#waiting.length >= this.#limits.queue)
      throw new RpcError(StatusCode.RESOURCE_EXHAUSTED, "Too many calls wait for this method", {
        reason: "QUEUE_FULL",
        retryAfterMs: 1000,
      });
    return new Promise((enter) => this.#waiting.push({ deadline, enter }));
  }

  /** Gives a place back, to the next call that still has time. */
  leave(): void {
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
      const alive = remainingMs(next.deadline) > 0;
      next.enter(alive);
      if (alive) return;
    }
    this.#running -= 1;
  }
}
