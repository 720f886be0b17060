// Finds out whether a plugin that let a call's time pass still lives.

/** What the watchdog works with. */
export interface WatchdogOptions {
  /** How long a plugin may take to answer a ping once it has no call left that may still take its time. */
  readonly graceMs: number;
  readonly ping: (signal: AbortSignal) => Promise<void>;
  /** The plugin does not come back. */
  readonly onUnresponsive: () => void;
  readonly now?: () => number;
}

/**
 * Watches over one process. A plugin that works on one thing at a time answers no ping before it is done; so a ping
 * that stays unanswered condemns it only when the time of every call that it may be working on has passed as well.
 */
export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #now: () => number;
  readonly #ending = new AbortController();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** When the time of each call ends that the plugin may still be working on. */
  readonly #deadlines = new Set<{ readonly at: number }>();
  #asking = false;

  constructor(options: WatchdogOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** A call begins, with its time. Returns what is to be called when the plugin has answered it. */
  began(timeoutMs: number): () => void {
    const deadline = { at: this.#now() + timeoutMs };
    this.#deadlines.add(deadline);
    return () => this.#deadlines.delete(deadline);
  }

  /** A call was given up after `afterMs` (its time is over by then): does the plugin come back? */
  suspect(afterMs = 0): void {
    if (this.#ending.signal.aborted) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#ask();
    }, afterMs);
    this.#timers.add(timer);
  }

  /** The process has ended. */
  stop(): void {
    this.#ending.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  async #ask(): Promise<void> {
    if (this.#asking || this.#ending.signal.aborted) return;
    this.#asking = true;
    const time = this.#now();
    for (const each of this.#deadlines) if (each.at <= time) this.#deadlines.delete(each);
    const innocentMs = Math.max(0, ...[...this.#deadlines].map(({ at }) => at - time));
    const waiting = AbortSignal.any([
      this.#ending.signal,
      AbortSignal.timeout(Math.ceil(Math.max(innocentMs, this.#options.graceMs))),
    ]);
    try {
      await this.#options.ping(waiting);
    } catch {
      if (waiting.aborted && !this.#ending.signal.aborted) this.#options.onUnresponsive();
    } finally {
      this.#asking = false;
    }
  }
}
