// Errors of a plugin against the protocol: each is written down, and too many within a window end the plugin.

/** How many errors are borne. */
export interface FaultPolicy {
  /** This many within the window are too many. */
  readonly max: number;
  readonly windowMs: number;
}

/** What becomes of errors. */
export interface FaultSink {
  /** One error, described for the plugin's log. */
  readonly onFault: (text: string) => void;
  /** The plugin must end: too many errors, or one after which the channel cannot be read. Called once. */
  readonly onFatal: (reason: string) => void;
}

/** Counts the errors of one plugin process. */
export class Faults {
  readonly #policy: FaultPolicy;
  readonly #sink: FaultSink;
  readonly #now: () => number;
  #times: number[] = [];
  #dead = false;

  constructor(policy: FaultPolicy, sink: FaultSink, now: () => number = () => performance.now()) {
    this.#policy = policy;
    this.#sink = sink;
    this.#now = now;
  }

  /** Whether the plugin was given up. */
  get dead(): boolean {
    return this.#dead;
  }

  /** Notes an error that the channel survives. */
  note(text: string): void {
    if (this.#dead) return;
    this.#sink.onFault(text);
    const time = this.#now();
    this.#times = this.#times.filter((each) => time - each < this.#policy.windowMs);
    this.#times.push(time);
    if (this.#times.length >= this.#policy.max)
      this.fatal(
        `broke the protocol ${this.#times.length} times within ${this.#policy.windowMs / 1000} s, last: ${text}`,
      );
  }

  /** Notes an error that ends the plugin. */
  fatal(reason: string): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#sink.onFatal(reason);
  }
}
