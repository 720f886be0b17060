// The arithmetic of limits: GCRA and the sliding-window counter. The same, step by step, as library.lua.
// GCRA: ITU-T I.371: a level in requests that falls by one each T = period/limit; allow iff level + cost ≤ burst. That is
// its "continuous-state leaky bucket" form, equal to the virtual schedule with tat = time + level·T, whose absolute times,
// at 10^15 µs, would hold no fraction of a microsecond: a burst of one would then never fit.
// Sliding window: estimate = previous·(1 − f) + current, f being the elapsed fraction of the current window.
import type { Limit } from "./policy.ts";

/** What is kept of one counter. */
export interface Counter {
  /** Bucket: when (µs) the level was true. Window: its index. */
  readonly at: number;
  /** Bucket: 0. Window: the count of the one before. */
  readonly previous: number;
  /** Bucket: its level. Window: its count. */
  readonly current: number;
  /** What was leased out in slot `leaseSlot` of {@link LEASE_MICROS}, and in the one before. */
  readonly leaseSlot: number;
  readonly leasedBefore: number;
  readonly leasedNow: number;
}

/** Where a counter stands at one moment. Times are microseconds from then. */
export interface Reading {
  /** The counter, moved on to now. */
  readonly counter: Counter;
  /** How much is used: the bucket's level, the window's estimate. */
  readonly used: number;
  /** How much may be used: the quota, less what is set aside for leases. */
  readonly most: number;
  /** Until the quota is whole again (bucket), or the window ends. */
  readonly reset: number;
  /** How long it has to be kept. */
  readonly ttl: number;
}

/** How long a gateway may spend from what it leased, in microseconds. */
export const LEASE_MICROS = 200_000;
/** In requests: above what sums of fractions lose, below what anybody could notice. */
export const EPSILON = 0.000001;

/** Reads a counter at `now` (µs since 1970). */
export function read(limit: Limit, counter: Counter | undefined, now: number): Reading {
  return limit.algorithm === "bucket" ? readBucket(limit, counter, now) : readWindow(limit, counter, now);
}

function readBucket(limit: Limit, counter: Counter | undefined, now: number): Reading {
  const step = limit.periodMicros / limit.limit;
  const at = counter?.at ?? now;
  // From further ahead than the whole burst lasts: a clock that was set back left it behind.
  const level = at - now > limit.burst * step ? 0 : Math.max(0, (counter?.current ?? 0) - Math.max(0, now - at) / step);
  return {
    counter: { ...leasesOf(counter), at: now, previous: 0, current: level },
    used: level,
    most: limit.burst - limit.reserve,
    reset: level * step,
    ttl: rememberLeases(limit, level * step),
  };
}

function readWindow(limit: Limit, counter: Counter | undefined, now: number): Reading {
  const period = limit.periodMicros;
  const index = Math.floor(now / period);
  const elapsed = now - index * period;
  const at = counter?.at ?? -1;
  // The next window's: a clock that was set back a little. From further ahead: forgotten.
  const present = at === index || at === index + 1;
  const previous = present ? (counter?.previous ?? 0) : at === index - 1 ? (counter?.current ?? 0) : 0;
  const current = present ? (counter?.current ?? 0) : 0;
  return {
    counter: { ...leasesOf(counter), at: index, previous, current },
    used: previous * (1 - elapsed / period) + current,
    most: limit.limit - limit.reserve,
    reset: period - elapsed,
    ttl: rememberLeases(limit, 2 * period - elapsed),
  };
}

function leasesOf(counter: Counter | undefined): Pick<Counter, "leaseSlot" | "leasedBefore" | "leasedNow"> {
  return {
    leaseSlot: counter?.leaseSlot ?? 0,
    leasedBefore: counter?.leasedBefore ?? 0,
    leasedNow: counter?.leasedNow ?? 0,
  };
}

/** What was leased out is remembered for as long as it may be spent, also by a counter that is empty before. */
function rememberLeases({ reserve }: Limit, ttl: number): number {
  return reserve > 0 ? Math.max(ttl, 2 * LEASE_MICROS) : ttl;
}

/** Until a request of `cost` would pass, in microseconds; 0 when it passes now. */
export function retryAfter(limit: Limit, reading: Reading, cost: number): number {
  const { used, most, counter, reset } = reading;
  if (used + cost <= most + EPSILON) return 0;
  if (limit.algorithm === "bucket") return ((used + cost - most) * limit.periodMicros) / limit.limit;
  const period = limit.periodMicros;
  const fraction = (period - reset) / period;
  // Within this window the estimate falls as the previous one fades; else as this one fades in the next.
  if (counter.current + cost <= most)
    return (1 - (most - cost - counter.current) / counter.previous - fraction) * period;
  return reset + Math.max(0, 1 - (most - cost) / counter.current) * period;
}

/** The counter with `amount` more used. */
export function spend(limit: Limit, reading: Reading, amount: number): Reading {
  const used = reading.used + amount;
  const counter = { ...reading.counter, current: reading.counter.current + amount };
  if (limit.algorithm === "window") return { ...reading, counter, used };
  const drained = used * (limit.periodMicros / limit.limit);
  return { ...reading, counter, used, reset: drained, ttl: rememberLeases(limit, drained) };
}

/** Sets right what was used at `from` (µs since 1970) by `difference`; more than was thought always counts. */
export function correct(limit: Limit, reading: Reading, now: number, from: number, difference: number): Reading {
  const { counter } = reading;
  if (limit.algorithm === "bucket")
    return read(limit, { ...counter, current: Math.max(0, counter.current + difference) }, now);
  const index = Math.floor(from / limit.periodMicros);
  if (index === counter.at - 1)
    return read(limit, { ...counter, previous: Math.max(0, counter.previous + difference) }, now);
  if (index === counter.at || difference > 0)
    return read(limit, { ...counter, current: Math.max(0, counter.current + difference) }, now);
  return reading;
}

/**
 * Takes back the cost of a request of the time `from`, as if it had never been: of a bucket only what has not drained since, which is
 * the least that the level may be higher for it. So a refund never lets more through than the limit does.
 */
export function refund(limit: Limit, reading: Reading, now: number, from: number): Reading {
  const drained = limit.algorithm === "bucket" ? ((now - from) * limit.limit) / limit.periodMicros : 0;
  const amount = Math.max(0, limit.cost - Math.max(0, drained));
  return amount > 0 ? correct(limit, reading, now, from, -amount) : reading;
}

/**
 * Leases out up to `want`: never more than the reserve in two slots, hence in any stretch of {@link LEASE_MICROS}, to
 * however many gateways; and no more than half of what is left, so that those without a lease get theirs.
 */
export function lease(
  limit: Limit,
  reading: Reading,
  now: number,
  want: number,
): { granted: number; reading: Reading } {
  const slot = Math.floor(now / LEASE_MICROS);
  const { leaseSlot, leasedBefore, leasedNow } = reading.counter;
  const present = leaseSlot === slot || leaseSlot === slot + 1;
  const before = present ? leasedBefore : leaseSlot === slot - 1 ? leasedNow : 0;
  const inSlot = present ? leasedNow : 0;
  const free = (reading.most - reading.used) / 2;
  const granted = Math.max(0, Math.floor(Math.min(want, free, limit.reserve - before - inSlot)));
  const counter = { ...reading.counter, leaseSlot: slot, leasedBefore: before, leasedNow: inSlot + granted };
  return { granted, reading: spend(limit, { ...reading, counter }, granted) };
}
