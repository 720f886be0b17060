// Denials that are known to hold still: whoever was told to wait is told so again without asking the store.
import type { KeyedLimit } from "./policy.ts";
import type { LimitDecision } from "./store.ts";

/** Longest time for which a denial is believed, in milliseconds: a counter may be reset by hand. */
const LONGEST_MS = 1_000;
const MOST_KEYS = 10_000;

/** By counter, until when it denies. */
export class Denials {
  readonly #now: () => number;
  readonly #denied = new Map<string, { until: number; retryAt: number; decision: LimitDecision }>();

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Whether nothing is known: then there is nothing to look for. */
  get empty(): boolean {
    return this.#denied.size === 0;
  }

  /** The decision that still holds for a limit; undefined: it has to be asked. */
  of({ limit, key }: KeyedLimit, now: number): LimitDecision | undefined {
    const known = this.#denied.get(key);
    if (known === undefined) return undefined;
    if (now < known.until) return { ...known.decision, limit, retryMs: known.retryAt - now };
    this.#denied.delete(key);
    return undefined;
  }

  /**
   * Remembers a denial. A limit that others can make room in at any time (places, tokens that are given back) is not one.
   * @param askedAt When the store was asked: it knew no later how long the wait is.
   */
  add({ limit, key }: KeyedLimit, decision: LimitDecision, askedAt: number): void {
    if (limit.shadow || limit.holdMicros > 0 || decision.allowed) return;
    const retryAt = askedAt + decision.retryMs;
    const until = Math.min(retryAt, askedAt + LONGEST_MS);
    if (until <= this.#now()) return;
    if (this.#denied.size >= MOST_KEYS) this.#denied.clear();
    this.#denied.set(key, { until, retryAt, decision });
  }

  clear(): void {
    this.#denied.clear();
  }
}
