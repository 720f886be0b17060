// A reference of what limits mean, told by what was admitted when: slow, obvious, and nothing like the code under test.
import type { MemoryStore } from "../../src/limits/memory-store.ts";
import type { KeyedLimit, Limit } from "../../src/limits/policy.ts";
import type { LimitDecision } from "../../src/limits/store.ts";

/** An admitted request. */
interface Admission {
  readonly at: number;
  readonly cost: number;
}

/** Whether a request at `now` (µs) is within a limit, given all that was admitted before. */
export function admits(limit: Limit, before: readonly Admission[], now: number): boolean {
  return limit.algorithm === "bucket" ? bucketAdmits(limit, before, now) : windowAdmits(limit, before, now);
}

/** A bucket of `burst` tokens that fills at the limit's rate, replayed from the beginning. */
function bucketAdmits({ limit, periodMicros, burst, cost }: Limit, before: readonly Admission[], now: number): boolean {
  const rate = limit / periodMicros;
  let tokens = burst;
  let last = before[0]?.at ?? now;
  for (const { at, cost: spent } of before) {
    tokens = Math.min(burst, tokens + (at - last) * rate) - spent;
    last = at;
  }
  return Math.min(burst, tokens + (now - last) * rate) - cost >= -1e-6;
}

/** The count of this window, and of the one before as far as it still reaches into the last period. */
function windowAdmits({ limit, periodMicros, cost }: Limit, before: readonly Admission[], now: number): boolean {
  const start = now - (now % periodMicros);
  const sum = (from: number, to: number): number =>
    before.filter(({ at }) => at >= from && at < to).reduce((all, each) => all + each.cost, 0);
  const previous = sum(start - periodMicros, start);
  const current = sum(start, start + periodMicros);
  return previous * (1 - (now - start) / periodMicros) + current + cost <= limit + 1e-9;
}

/** Decides one request that holds nothing. */
export function decide(store: MemoryStore, limits: readonly KeyedLimit[]): readonly LimitDecision[] {
  return store.apply({ kind: "decide", limits, hold: "" }).decisions;
}
