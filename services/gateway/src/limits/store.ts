// What every place that keeps counters offers: a few operations, each done in one step.
import type { KeyedLimit, Limit } from "./policy.ts";

/** What one limit said of one request. */
export interface LimitDecision {
  readonly limit: Limit;
  readonly allowed: boolean;
  /** Whole requests (or tokens, or places) left. */
  readonly remaining: number;
  /** Until the quota is whole again, in milliseconds. */
  readonly resetMs: number;
  /** Until the same request would pass, in milliseconds; 0 when it passes. */
  readonly retryMs: number;
}

/** Judges a request by all of its limits at once, and spends from all of them or, if one that is enforced denies, from none. */
export interface Decide {
  readonly kind: "decide";
  readonly limits: readonly KeyedLimit[];
  /** Names what the request holds (a place, reserved tokens): visible ASCII without colon, unique. Empty: it holds nothing. */
  readonly hold: string;
  /** Says what would be, and spends nothing. */
  readonly peek?: boolean;
}

/** Takes back what a lease of the time `from` left, and leases up to `want`. */
export interface Grant {
  readonly kind: "grant";
  readonly limit: KeyedLimit;
  readonly want: number;
  readonly returned: number;
  readonly from: number;
}

/** Sets right what was reserved at `from`: `used` is what it came to; 0 gives it all back. */
export interface Settle {
  readonly kind: "settle";
  readonly limit: KeyedLimit;
  readonly hold: string;
  readonly from: number;
  readonly used: number;
}

/** Takes back what a request spent at `from`, which another limit denied after all. Of a limit that holds nothing. */
export interface Refund {
  readonly kind: "refund";
  readonly limit: KeyedLimit;
  readonly from: number;
}

/** Gives a place back. */
export interface Release {
  readonly kind: "release";
  readonly limit: KeyedLimit;
  readonly hold: string;
}

/** Keeps a place, or what was reserved at `from`, for another {@link Limit.holdMicros}. */
export interface Keep {
  readonly kind: "keep";
  readonly limit: KeyedLimit;
  readonly hold: string;
  readonly from: number;
}

export type Operation = Decide | Grant | Refund | Settle | Release | Keep;

/** What came of an operation. Times are the store's, in microseconds since 1970. */
export interface Outcome {
  readonly now: number;
  /** Of a `decide` that several servers answered: each limit's own time, in place of `now`. */
  readonly times?: readonly number[];
  /** Of `decide`, in the order of its limits; of `grant`: where the limit stands. */
  readonly decisions: readonly LimitDecision[];
  /** Of `grant`. */
  readonly granted: number;
}

/** A place that keeps counters. */
export interface LimitStore {
  run(operation: Operation): Promise<Outcome>;
}

/** What names a reservation in a store, so that it can be given back without being asked for. */
export function reservation(hold: string, from: number, amount: number): string {
  return `${hold}:${from}:${amount}`;
}
