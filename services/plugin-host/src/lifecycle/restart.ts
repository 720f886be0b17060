// When a plugin that ended is started again, and when not any more.

/** The figures, in milliseconds. */
export interface RestartFigures {
  /** Longest wait before the first restart: a single crash must hardly be noticed. */
  readonly firstMs: number;
  /** The wait before the second; doubled for each further one. */
  readonly baseMs: number;
  readonly maxMs: number;
  /** After so long in health, the count begins anew. */
  readonly healthyMs: number;
  /** So many crashes within the window: quarantine. */
  readonly quarantineCrashes: number;
  readonly quarantineWindowMs: number;
}

export const defaultRestartFigures: RestartFigures = {
  firstMs: 500,
  baseMs: 1000,
  maxMs: 300_000,
  healthyMs: 600_000,
  quarantineCrashes: 5,
  quarantineWindowMs: 60_000,
};

/** What to do about an ended plugin. */
export type RestartDecision = { readonly kind: "restart"; readonly delayMs: number } | { readonly kind: "quarantine" };

/** Exponential backoff with equal jitter (Brooker, "Exponential Backoff And Jitter", 2015), and quarantine. One a plugin. */
export class RestartPolicy {
  readonly #figures: RestartFigures;
  readonly #random: () => number;
  readonly #now: () => number;
  #failures = 0;
  #crashes: number[] = [];
  #runningSince: number | undefined;

  constructor(
    figures: RestartFigures,
    random: () => number = Math.random,
    now: () => number = () => performance.now(),
  ) {
    this.#figures = figures;
    this.#random = random;
    this.#now = now;
  }

  /** The plugin runs. */
  started(): void {
    this.#runningSince = this.#now();
  }

  /** The plugin ended by its own fault, or did not come up. */
  crashed(): RestartDecision {
    const { quarantineCrashes, quarantineWindowMs } = this.#figures;
    const time = this.#now();
    this.#crashes = [...this.#crashes.filter((each) => time - each < quarantineWindowMs), time];
    return this.#crashes.length >= quarantineCrashes ? { kind: "quarantine" } : this.failed();
  }

  /** It could not be started for a reason that is not its fault, such as a package that cannot be fetched now. */
  failed(): { readonly kind: "restart"; readonly delayMs: number } {
    const { firstMs, baseMs, maxMs, healthyMs } = this.#figures;
    if (this.#runningSince !== undefined && this.#now() - this.#runningSince >= healthyMs) this.#failures = 0;
    this.#runningSince = undefined;
    const most = this.#failures === 0 ? firstMs : Math.min(maxMs, baseMs * 2 ** (this.#failures - 1));
    this.#failures++;
    return { kind: "restart", delayMs: most / 2 + (this.#random() * most) / 2 };
  }
}
