// The arithmetic of limits: GCRA and the sliding-window counter. The same, step by step, as library.lua.
// GCRA: ITU-T I.371, as a virtual schedule: T = period/limit; next = max(tat, t) + cost·T; allow iff next − t ≤ burst·T.
// Sliding window: estimate = previous·(1 − f) + current, f being the elapsed fraction of the current window.
import type { Limit } from "./policy.ts";

/** What is kept of one counter. A bucket: its theoretical arrival time (µs). A window: index, previous and current count. */
export type LimitState = readonly [tat: number] | readonly [index: number, previous: number, current: number];

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

function judgeBucket({ limit, periodMicros, burst, cost }: Limit, state: LimitState | undefined, now: number): Verdict {
  const step = periodMicros / limit;
  const room = burst * step;
  // A theoretical arrival time further ahead than the room is one that a clock set back left behind.
  const base = Math.min(Math.max(state?.[0] ?? 0, now), now + room);
  const level = base - now;
  const after = base + cost * step;
  const over = after - now - room;
  return {
    allowed: over <= 0,
    retry: over > 0 ? over : 0,
    remainingBefore: Math.floor((room - level) / step + 0.001),
    resetBefore: level,
    remainingAfter: Math.floor((room - (after - now)) / step + 0.001),
    resetAfter: after - now,
    next: [after],
    ttl: after - now,
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
  const previous = at >= index ? kept : at === index - 1 ? count : 0;
  const current = at >= index ? count : 0;
  const fraction = elapsed / period;
  const estimate = previous * (1 - fraction) + current;
  const allowed = estimate + cost <= limit;
  let retry = 0;
  if (!allowed) {
    // Within this window the estimate falls as the previous one fades; else as this one fades in the next.
    if (current + cost <= limit) retry = (1 - (limit - cost - current) / previous - fraction) * period;
    else retry = period - elapsed + Math.max(0, 1 - (limit - cost) / current) * period;
  }
  return {
    allowed,
    retry,
    remainingBefore: Math.max(0, Math.floor(limit - estimate + 0.001)),
    resetBefore: period - elapsed,
    remainingAfter: Math.max(0, Math.floor(limit - estimate - cost + 0.001)),
    resetAfter: period - elapsed,
    next: [index, previous, current + cost],
    ttl: 2 * period - elapsed,
  };
}
