// The arithmetic of limits: GCRA and the sliding-window counter. The same, step by step, as library.lua.
// GCRA: ITU-T I.371: a level in requests that falls by one each T = period/limit; allow iff level + cost ≤ burst. That is
// its "continuous-state leaky bucket" form, equal to the virtual schedule with tat = time + level·T, whose absolute times,
// at 10^15 µs, would hold no fraction of a microsecond: a burst of one would then never fit.
// Sliding window: estimate = previous·(1 − f) + current, f being the elapsed fraction of the current window.
import type { Limit } from "./policy.ts";

/** What is kept of one counter. A bucket: its level (requests), and when (µs) it was that. A window: index, previous and current count. */
export type LimitState =
  | readonly [at: number, level: number]
  | readonly [index: number, previous: number, current: number];

/** One limit's answer to one request. Times are microseconds from now. */
export interface Verdict {
  readonly allowed: boolean;
  /** Requests left, before and after this one. */
  readonly remainingBefore: number;
  readonly remainingAfter: number;
  /** Until the quota is whole again (bucket), or the window ends. */
  readonly resetBefore: number;
  readonly resetAfter: number;
  /** Until the same request would pass; 0 when it passes now. */
  readonly retry: number;
  /** What to keep if the request goes ahead, and for how long. */
  readonly next: LimitState;
  readonly ttl: number;
}

/** Judges one request at `now` (µs since 1970) by one limit. */
export function judge(limit: Limit, state: LimitState | undefined, now: number): Verdict {
  return limit.algorithm === "bucket" ? judgeBucket(limit, state, now) : judgeWindow(limit, state, now);
}

/** In requests: above what sums of fractions lose, below what anybody could notice. */
const EPSILON = 0.000001;

function judgeBucket({ limit, periodMicros, burst, cost }: Limit, state: LimitState | undefined, now: number): Verdict {
  const step = periodMicros / limit;
  const [at, kept] = state ?? [now, 0];
  // From further ahead than the whole burst lasts: a clock that was set back left it behind.
  const level = at - now > burst * step ? 0 : Math.max(0, kept - Math.max(0, now - at) / step);
  const after = level + cost;
  const allowed = after <= burst + EPSILON;
  return {
    allowed,
    retry: allowed ? 0 : (after - burst) * step,
    remainingBefore: Math.floor(burst - level + EPSILON),
    resetBefore: level * step,
    remainingAfter: Math.floor(burst - after + EPSILON),
    resetAfter: after * step,
    next: [now, after],
    ttl: after * step,
  };
}

function judgeWindow(
  { limit, periodMicros: period, cost }: Limit,
  state: LimitState | undefined,
  now: number,
): Verdict {
  const index = Math.floor(now / period);
  const elapsed = now - index * period;
  const [at = -1, kept = 0, count = 0] = state ?? [];
  // The next window's: a clock that was set back a little. From further ahead: forgotten.
  const present = at === index || at === index + 1;
  const previous = present ? kept : at === index - 1 ? count : 0;
  const current = present ? count : 0;
  const fraction = elapsed / period;
  const estimate = previous * (1 - fraction) + current;
  const allowed = estimate + cost <= limit + EPSILON;
  let retry = 0;
  if (!allowed) {
    // Within this window the estimate falls as the previous one fades; else as this one fades in the next.
    if (current + cost <= limit) retry = (1 - (limit - cost - current) / previous - fraction) * period;
    else retry = period - elapsed + Math.max(0, 1 - (limit - cost) / current) * period;
  }
  return {
    allowed,
    retry,
    remainingBefore: Math.max(0, Math.floor(limit - estimate + EPSILON)),
    resetBefore: period - elapsed,
    remainingAfter: Math.max(0, Math.floor(limit - estimate - cost + EPSILON)),
    resetAfter: period - elapsed,
    next: [index, previous, current + cost],
    ttl: 2 * period - elapsed,
  };
}
