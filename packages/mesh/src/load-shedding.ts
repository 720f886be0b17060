// A replica whose event loop lags steps aside: it leaves the queue groups for a while, so that NATS sends calls to others.
// With hysteresis, and never when it is the only one.
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { MeshLog } from "./connection.ts";

export interface LoadSheddingOptions {
  /** Leaves the queue groups. */
  readonly leave: () => Promise<void>;
  /** Joins them again. */
  readonly join: () => void;
  /** Whether another replica of the service answers now. */
  readonly othersServe: () => Promise<boolean>;
  readonly log: MeshLog;
  /** The lag of the event loop since the last question, in milliseconds. Default: measured. */
  readonly lagMs?: () => number;
  /** How often the lag is looked at, in milliseconds. */
  readonly everyMs?: number;
}

/** Lag above which a look counts against the replica, in milliseconds. */
const HIGH_MS = 250;
/** Lag below which a look counts for it. */
const LOW_MS = 50;
/** Looks in a row that make it leave, and that bring it back. */
const LEAVE_AFTER = 4;
const JOIN_AFTER = 8;
const EVERY_MS = 250;
const RESOLUTION_MS = 10;
const NS_PER_MS = 1e6;

/** Watches the event loop of a replica until it is stopped. */
export class LoadShedding {
  readonly #options: LoadSheddingOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #lag: () => number;
  #histogram: ReturnType<typeof monitorEventLoopDelay> | undefined;
  #aside = false;
  #looks = 0;
  #busy = false;

  constructor(options: LoadSheddingOptions) {
    this.#options = options;
    this.#lag = options.lagMs ?? this.#measure();
    this.#timer = setInterval(() => void this.#look(), options.everyMs ?? EVERY_MS).unref();
  }

  /** Whether the replica has stepped aside. */
  get aside(): boolean {
    return this.#aside;
  }

  /** Watches no more. */
  stop(): void {
    clearInterval(this.#timer);
    this.#histogram?.disable();
  }

  #measure(): () => number {
    const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    histogram.enable();
    this.#histogram = histogram;
    return () => {
      const ms = histogram.percentile(99) / NS_PER_MS - RESOLUTION_MS;
      histogram.reset();
      return ms;
    };
  }

  async #look(): Promise<void> {
    const lag = this.#lag();
    const counts = this.#aside ? lag < LOW_MS : lag > HIGH_MS;
    this.#looks = counts ? this.#looks + 1 : 0;
    if (this.#busy) return;
    const enough = this.#looks >= (this.#aside ? JOIN_AFTER : LEAVE_AFTER);
    if (!enough && !this.#aside) return;
    this.#busy = true;
    try {
      // Better late answers than none: when the others have gone, too, this one comes back.
      if (this.#aside && (enough || !(await this.#options.othersServe()))) this.#comeBack(lag);
      else if (enough) await this.#stepAside(lag);
    } catch (err) {
      this.#options.log.warn({ err }, "The replica could not step aside");
    } finally {
      this.#busy = false;
    }
  }

  async #stepAside(lagMs: number): Promise<void> {
    this.#looks = 0;
    if (!(await this.#options.othersServe())) return;
    this.#aside = true;
    this.#options.log.warn({ lagMs }, "The event loop lags: stepping aside for a while");
    await this.#options.leave();
  }

  #comeBack(lagMs: number): void {
    this.#looks = 0;
    this.#aside = false;
    this.#options.join();
    this.#options.log.info({ lagMs }, "The event loop keeps up again: back in the queue groups");
  }
}
