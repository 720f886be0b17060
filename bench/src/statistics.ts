// Small statistics.

/** The middle of some values; the mean of the two in the middle of an even number. NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** Values moved round by `by` places: each round begins with another subject. */
export function rotate<T>(values: readonly T[], by: number): T[] {
  const at = values.length ? by % values.length : 0;
  return [...values.slice(at), ...values.slice(0, at)];
}
