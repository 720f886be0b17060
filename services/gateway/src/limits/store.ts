// What every place that keeps counters offers.
import type { KeyedLimit, Limit } from "./policy.ts";

/** What one limit said of one request. */
export interface LimitDecision {
  readonly limit: Limit;
  readonly allowed: boolean;
  /** Whole requests left. */
  readonly remaining: number;
  /** Until the quota is whole again, in milliseconds. */
  readonly resetMs: number;
  /** Until the same request would pass, in milliseconds; 0 when it passes. */
  readonly retryMs: number;
}

/** Judges a request by all of its limits at once, and spends from all of them or, if one that is enforced denies, from none. */
export interface LimitStore {
  check(limits: readonly KeyedLimit[]): Promise<LimitDecision[]>;
}
