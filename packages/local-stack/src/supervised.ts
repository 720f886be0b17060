// A process that is started again when it ends by itself.
import type { Ending, ManagedProcess } from "./managed-process.ts";

export interface SupervisedOptions {
  readonly name: string;
  /** Starts it; resolves when it does its work. */
  readonly start: () => Promise<ManagedProcess>;
  readonly say: (text: string) => void;
  /** Called when it has started or ended. */
  readonly onChange?: () => void;
}

const FIRST_DELAY_MS = 50;
const LONGEST_DELAY_MS = 5000;
/** After so long without an end, the next one counts as the first again. */
const STEADY_MS = 60_000;

/** Keeps one process running until it is stopped. */
export class Supervised {
  readonly name: string;
  readonly #options: SupervisedOptions;
  #process: ManagedProcess | undefined;
  #starting: Promise<void> | undefined;
  #stopped = false;
  #failures = 0;
  #endDelay: (() => void) | undefined;

  constructor(options: SupervisedOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** The running process's id; undefined while it is down. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts it the first time; a failure is the caller's. */
  start(): Promise<void> {
    const started = this.#options.start().then((running) => this.#follow(running));
    // Whoever stops it meanwhile waits for it, and stops what was started.
    this.#starting = started.catch(() => undefined);
    return started;
  }

  /** Stops it for good: SIGTERM, and SIGKILL after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    this.#endDelay?.();
    await this.#starting;
    await this.#process?.stop(graceMs);
  }

  #follow(running: ManagedProcess): void {
    this.#process = running;
    this.#options.onChange?.();
    const started = Date.now();
    void running.ended.then((ending) => {
      this.#process = undefined;
      this.#options.onChange?.();
      if (this.#stopped) return;
      if (Date.now() - started > STEADY_MS) this.#failures = 0;
      this.#options.say(`ended by itself (${describe(ending)}); starting it again`);
      this.#starting = this.#again();
    });
  }

  async #again(): Promise<void> {
    while (!this.#stopped) {
      const delay = this.#failures === 0 ? 0 : Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures);
      this.#failures += 1;
      await this.#delay(delay);
      if (this.#stopped) return;
      try {
        return this.#follow(await this.#options.start());
      } catch (error) {
        this.#options.say(`could not be started: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }

  /** A wait that a stop ends at once. */
  #delay(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#endDelay = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function describe({ code, signal }: Ending): string {
  return signal ?? `exit code ${code}`;
}
