// What a scenario is: something that clients do, with its usual rate.
import type { Profile } from "./profiles.ts";
import type { Recorder } from "./recorder.ts";
import type { Stack } from "./stack.ts";
import type { Target } from "./target.ts";

/** What a scenario runs against. */
export interface Environment {
  readonly target: Target;
  /** Absent where the load goes to a mesh that somebody else runs. */
  readonly stack: Stack | undefined;
  readonly recorder: Recorder;
  readonly profile: Profile;
  readonly signal: AbortSignal;
}

/** One more thing that must hold at the end. */
export interface Verdict {
  /** `admitted ≤ 160`. */
  readonly objective: string;
  readonly found: string;
  readonly held: boolean;
}

/** A prepared scenario. */
export interface Prepared {
  /** One arrival. A throw is a failure. */
  iterate(index: number): Promise<void>;
  /** Goes on beside the arrivals from when they count, until `done` fires. */
  meanwhile?(done: AbortSignal): Promise<void>;
  /** What must hold beside the profile's objectives. */
  verdicts?(): Promise<Verdict[]> | Verdict[];
  close?(): Promise<void>;
}

export interface Scenario {
  readonly name: string;
  readonly description: string;
  /** Arrivals a second in the profile `load`. */
  readonly rate: number;
  /** `policy`: a mesh with the limits that it has by default; `open`: one whose limits do not interfere. */
  readonly limits: "open" | "policy";
  /** The time whose p99 the profile's objective is about. */
  readonly trend: string;
  /**
   * How many times the objective it may take: what spans several requests, or has processes start beside it on the machine that answers,
   * is not one request. Default: 1.
   */
  readonly times?: number;
  /** Why it cannot run against this mesh; undefined: it can. */
  unavailable?(environment: Environment): Promise<string | undefined> | string | undefined;
  prepare(environment: Environment): Promise<Prepared>;
}
