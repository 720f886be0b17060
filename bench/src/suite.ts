// What a benchmark suite is given, and what it returns.
import type { Report } from "./report.ts";

export interface SuiteOptions {
  /** End within 60 seconds. */
  readonly quick: boolean;
  /** Where to write CPU profiles of Warren's processes; undefined: nowhere. */
  readonly profileFolder: string | undefined;
  /** Tells a person what is being measured now. */
  readonly progress: (line: string) => void;
  /** Ends the suite before its time. */
  readonly signal: AbortSignal;
}

/** Runs every workload for every subject on this machine, now. */
export type Suite = (options: SuiteOptions) => Promise<Report>;
