// What a scenario records while it runs.
import { Trend, type TrendFigures } from "./trend.ts";

/** Something that should have held did not. */
export class CheckFailed extends Error {
  override readonly name = "CheckFailed";
}

const MOST_REASONS = 5;

/** Collects times, counts and failures; what comes before {@link begin} is the warm-up's and is forgotten. */
export class Recorder {
  #trends = new Map<string, Trend>();
  #counts = new Map<string, number>();
  #reasons = new Map<string, number>();
  iterations = 0;
  failed = 0;

  /** Forgets everything: what counts begins. */
  begin(): void {
    this.#trends = new Map();
    this.#counts = new Map();
    this.#reasons = new Map();
    this.iterations = 0;
    this.failed = 0;
  }

  /** Counts a time, in milliseconds. */
  time(name: string, ms: number): void {
    let trend = this.#trends.get(name);
    if (!trend) this.#trends.set(name, (trend = new Trend()));
    trend.record(ms);
  }

  count(name: string, by = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + by);
  }

  /** Runs an iteration; a throw is a failure, and why it was is kept for the report. */
  async iterate(iteration: () => Promise<void>): Promise<void> {
    this.iterations += 1;
    try {
      await iteration();
    } catch (error) {
      this.failed += 1;
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#reasons.has(reason) || this.#reasons.size < MOST_REASONS)
        this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1);
    }
  }

  get trends(): Readonly<Record<string, TrendFigures>> {
    return Object.fromEntries([...this.#trends].map(([name, trend]) => [name, trend.figures]));
  }

  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  /** Reasons of failures, with how often each was seen. */
  get reasons(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#reasons);
  }
}

/** @throws CheckFailed with what was expected and what there was, shortened. */
export function check(holds: boolean, expected: string, found: unknown): asserts holds {
  if (holds) return;
  const text = typeof found === "string" ? found : JSON.stringify(found);
  throw new CheckFailed(`${expected}, and there was: ${(text ?? "nothing").slice(0, 200)}`);
}
