// Processes in stages: started together, stopped stage by stage, the last first: whoever calls stops before whom it calls.
import { writeFileSync } from "node:fs";
import type { ManagedProcess } from "./managed-process.ts";
import { Supervised } from "./supervised.ts";

const STOP_GRACE_MS = 40_000;
const NAME_WIDTH = 13;

export interface StagesOptions {
  /** Takes each line of each process, with its name before it. */
  readonly log: (line: string) => void;
  /** Where the ids of the running processes are kept, as JSON by name. */
  readonly tablePath: string;
}

/** The processes of a stack. */
export class Stages {
  readonly #options: StagesOptions;
  readonly #stages: Supervised[][] = [];

  constructor(options: StagesOptions) {
    this.#options = options;
  }

  /** A process that is started again when it ends by itself. */
  process(name: string, start: (onLine: (line: string) => void) => Promise<ManagedProcess>): Supervised {
    const say = (text: string): void => this.#options.log(`${name.padEnd(NAME_WIDTH)} | ${text}`);
    return new Supervised({ name, start: () => start(say), say, onChange: () => this.#writeTable() });
  }

  /** Starts every process of these stages at once. */
  async start(stages: Supervised[][]): Promise<void> {
    this.#stages.push(...stages);
    const results = await Promise.allSettled(stages.flat().map((each) => each.start()));
    const failed = results.find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
  }

  /** Stops every process for good; resolves when none is left. */
  async stop(): Promise<void> {
    for (const stage of this.#stages.toReversed()) await Promise.all(stage.map((each) => each.stop(STOP_GRACE_MS)));
  }

  #writeTable(): void {
    const running = this.#stages.flat().flatMap(({ name, pid }) => (pid === undefined ? [] : [[name, pid]]));
    writeFileSync(this.#options.tablePath, JSON.stringify(Object.fromEntries(running)), { mode: 0o600 });
  }
}
