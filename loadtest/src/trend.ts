// Times, told by their quantiles.
import { createHistogram } from "node:perf_hooks";

/** Figures of a trend, in milliseconds. */
export interface TrendFigures {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

const LONGEST_US = 10 * 60 * 1e6;

/** Counts times by an HDR histogram: three digits of each, whatever its size. */
export class Trend {
  readonly #histogram = createHistogram({ lowest: 1, highest: LONGEST_US, figures: 3 });

  /** Counts one, in milliseconds. */
  record(ms: number): void {
    this.#histogram.record(Math.min(LONGEST_US, Math.max(1, Math.round(ms * 1000))));
  }

  get figures(): TrendFigures {
    const { count, max } = this.#histogram;
    const at = (share: number): number => (count === 0 ? 0 : this.#histogram.percentile(share) / 1000);
    return { count, p50: at(50), p95: at(95), p99: at(99), max: count === 0 ? 0 : max / 1000 };
  }
}
