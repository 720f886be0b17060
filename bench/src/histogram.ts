// Latencies in buckets that grow by one percent: quantiles within one percent, at the cost of a counter each.

const GROWTH = Math.log(1.01);
/** The shortest latency told from none, in milliseconds. */
const LEAST_MS = 0.001;
/** Buckets up to about 11 minutes. */
const BUCKETS = 2048;

/** Counts latencies in milliseconds. */
export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  #total = 0;

  /** Counts one. */
  record(ms: number): void {
    const bucket = ms <= LEAST_MS ? 0 : Math.min(BUCKETS - 1, Math.ceil(Math.log(ms / LEAST_MS) / GROWTH));
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#total += 1;
  }

  /** How many were counted. */
  get count(): number {
    return this.#total;
  }

  /** The latency that `share` (0 to 1) of those counted did not exceed, in milliseconds; NaN when none was counted. */
  quantile(share: number): number {
    if (this.#total === 0) return Number.NaN;
    let left = Math.ceil(this.#total * share);
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.#counts[bucket] ?? 0;
      if (left <= 0) return LEAST_MS * Math.exp(bucket * GROWTH);
    }
    return Number.POSITIVE_INFINITY;
  }
}
