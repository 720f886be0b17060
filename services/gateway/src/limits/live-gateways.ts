// How many gateways live, as the mesh tells: their shares of a limit while Redis is away, and of what is leased.

const COUNT_EVERY_MS = 5_000;

/** Counts the gateways again and again. One that is missed once is believed to live still. */
export class LiveGateways {
  readonly #ask: () => Promise<number>;
  readonly #onChange: (gateways: number) => void;
  readonly #timer: NodeJS.Timeout;
  #count = 1;
  #last = 1;

  /** @param ask Counts them; a failure changes nothing. */
  constructor(ask: () => Promise<number>, onChange: (gateways: number) => void = () => {}, everyMs = COUNT_EVERY_MS) {
    this.#ask = ask;
    this.#onChange = onChange;
    this.#timer = setInterval(() => void this.refresh(), everyMs).unref();
  }

  /** At least 1: this one. */
  get count(): number {
    return this.#count;
  }

  /** Counts now. */
  async refresh(): Promise<void> {
    const seen = Math.max(1, await this.#ask().catch(() => this.#last));
    // Too few would be given too much: an answer that was lost must not make a gateway disappear.
    this.#count = Math.max(seen, this.#last);
    this.#last = seen;
    this.#onChange(this.#count);
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
