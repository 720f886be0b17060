// Deadlines: points on this process's monotonic clock, in milliseconds. On the wire they travel as remaining time, so
// that clocks need not agree.

/** Milliseconds on the monotonic clock. */
export function now(): number {
  return performance.now();
}

/** The earlier of a deadline that was given (by a caller) and one `timeoutMs` from now, or from a time that is known already. */
export function deadlineWithin(timeoutMs: number, given?: number, from = now()): number {
  const own = from + timeoutMs;
  return given === undefined ? own : Math.min(own, given);
}

/** Milliseconds left, never negative. */
export function remainingMs(deadline: number): number {
  return Math.max(0, deadline - now());
}
