// Counters in this process's memory: for a gateway without Redis, and for one whose Redis is down.
import { judge, type LimitState } from "./algorithms.ts";
import type { KeyedLimit } from "./policy.ts";
import type { LimitDecision, LimitStore } from "./store.ts";

interface Counter {
  readonly state: LimitState;
  /** Microseconds since 1970. */
  readonly expiresAt: number;
}

const DEFAULT_MOST_COUNTERS = 100_000;

/** Bounded: beyond `mostCounters` the counter that was written first is forgotten. */
export class MemoryStore implements LimitStore {
  readonly #counters = new Map<string, Counter>();
  readonly #nowMicros: () => number;
  readonly #mostCounters: number;

  constructor(options: { nowMicros?: () => number; mostCounters?: number } = {}) {
    this.#nowMicros = options.nowMicros ?? (() => (performance.timeOrigin + performance.now()) * 1000);
    this.#mostCounters = options.mostCounters ?? DEFAULT_MOST_COUNTERS;
  }

  check(limits: readonly KeyedLimit[]): Promise<LimitDecision[]> {
    return Promise.resolve(this.decide(limits));
  }

  /** {@link check} without the wait. */
  decide(limits: readonly KeyedLimit[]): LimitDecision[] {
    const now = this.#nowMicros();
    const verdicts = limits.map(({ limit, key }) => judge(limit, this.#state(key, now), now));
    const denied = limits.some(({ limit }, i) => !limit.shadow && !verdicts[i]?.allowed);
    return limits.flatMap(({ limit, key }, i) => {
      const verdict = verdicts[i];
      if (!verdict) return [];
      const spent = verdict.allowed && !denied;
      if (spent) this.#keep(key, { state: verdict.next, expiresAt: now + verdict.ttl });
      return {
        limit,
        allowed: verdict.allowed,
        remaining: spent ? verdict.remainingAfter : verdict.remainingBefore,
        resetMs: Math.ceil(spent ? verdict.resetAfter : verdict.resetBefore) / 1000,
        retryMs: Math.ceil(verdict.retry) / 1000,
      };
    });
  }

  /** How many counters are held. */
  get size(): number {
    return this.#counters.size;
  }

  #state(key: string, now: number): LimitState | undefined {
    const counter = this.#counters.get(key);
    return counter && counter.expiresAt > now ? counter.state : undefined;
  }

  #keep(key: string, counter: Counter): void {
    // Written last stands last, so that the first one is the one least recently spent from.
    this.#counters.delete(key);
    this.#counters.set(key, counter);
    if (this.#counters.size <= this.#mostCounters) return;
    const oldest = this.#counters.keys().next().value;
    if (oldest !== undefined) this.#counters.delete(oldest);
  }
}
