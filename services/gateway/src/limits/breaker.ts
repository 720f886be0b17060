// A circuit breaker that looks for itself whether the other side is back: no request pays for the probing.

/** The breaker is open: the work was not tried. */
export class BreakerOpen extends Error {
  override readonly name = "BreakerOpen";
  constructor() {
    super("Not tried: the breaker is open");
  }
}

export interface BreakerOptions {
  /** Failures in a row after which it opens. */
  readonly threshold: number;
  /** Time between two probes while it is open, in milliseconds. */
  readonly probeEveryMs: number;
  /** Succeeds when the other side works again. */
  readonly probe: () => Promise<void>;
  readonly onOpen: (cause: unknown) => void;
  readonly onClose: () => void;
}

/** Opens after failures in a row; then probes in the background until one succeeds. */
export class Breaker {
  readonly #options: BreakerOptions;
  #failures = 0;
  #probing: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  get open(): boolean {
    return this.#failures >= this.#options.threshold;
  }

  /**
   * Does the work, unless the breaker is open.
   * @throws BreakerOpen, or whatever the work throws.
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.open) throw new BreakerOpen();
    try {
      const result = await work();
      if (!this.open) this.#failures = 0;
      return result;
    } catch (error) {
      this.fail(error);
      throw error;
    }
  }

  /** Counts a failure seen elsewhere. */
  fail(cause: unknown): void {
    if (this.open) return;
    this.#failures += 1;
    if (this.open) this.#opened(cause);
  }

  /** Opens at once: the other side is known to be gone. */
  trip(cause: unknown): void {
    if (this.open) return;
    this.#failures = this.#options.threshold;
    this.#opened(cause);
  }

  /** No more probes. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#probing);
  }

  #opened(cause: unknown): void {
    this.#options.onOpen(cause);
    this.#probeLater();
  }

  #probeLater(): void {
    if (this.#stopped) return;
    this.#probing = setTimeout(() => {
      this.#options.probe().then(
        () => {
          this.#failures = 0;
          if (!this.#stopped) this.#options.onClose();
        },
        () => this.#probeLater(),
      );
    }, this.#options.probeEveryMs);
    this.#probing.unref();
  }
}
