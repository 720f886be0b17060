// The limiter as the edge sees it: asks Redis while it answers, and says what it does when it does not.
import type { MeshLog } from "@warren/mesh";
import { Breaker } from "./breaker.ts";
import { denialsOf } from "./headers.ts";
import { MemoryStore } from "./memory-store.ts";
import { type LimitSubject, limitsFor, type Policy } from "./policy.ts";
import type { RedisStore } from "./redis-store.ts";
import type { LimitDecision } from "./store.ts";

/** What became of a request at its limits. */
export interface LimitOutcome {
  /** `unavailable`: nobody could say, and the route is one that must not go unlimited. */
  readonly verdict: "allowed" | "denied" | "unavailable";
  readonly decisions: readonly LimitDecision[];
  /** Whether the counters are those of the whole deployment; headers tell of no others. */
  readonly shared: boolean;
}

export interface Limiter {
  /** @param guarded The route must not be served while its limits cannot be known (pairing, tokens, administration). */
  check(subject: LimitSubject, guarded: boolean): Promise<LimitOutcome>;
  /** Why it is less than it should be; undefined when it is not. */
  degraded(): string | undefined;
  close(): void;
}

const FAILURES_TO_OPEN = 3;
const PROBE_EVERY_MS = 250;

/** A limiter on this process's memory alone, for a gateway that is given no Redis. */
export function memoryLimiter(policy: Policy, store = new MemoryStore()): Limiter {
  return {
    check: (subject) => Promise.resolve(outcome(store.decide(limitsFor(policy, subject)), false)),
    degraded: () =>
      "limits are counted in this process's memory: set WARREN_REDIS_URL to share them and keep them over restarts",
    close: () => {},
  };
}

export interface RedisLimiterDependencies {
  readonly policy: Policy;
  readonly store: RedisStore;
  readonly log: MeshLog;
  /** Told when it begins and ends to count by itself. */
  readonly onDegraded: (degraded: boolean) => void;
  /** Counts while Redis is away. */
  readonly local?: MemoryStore;
}

/** A limiter on Redis. While Redis is away it counts by itself, and refuses guarded routes. */
export class RedisLimiter implements Limiter {
  readonly #policy: Policy;
  readonly #store: RedisStore;
  readonly #local: MemoryStore;
  readonly #breaker: Breaker;

  constructor({ policy, store, log, onDegraded, local = new MemoryStore() }: RedisLimiterDependencies) {
    this.#policy = policy;
    this.#store = store;
    this.#local = local;
    this.#breaker = new Breaker({
      threshold: FAILURES_TO_OPEN,
      probeEveryMs: PROBE_EVERY_MS,
      probe: () => store.probe(),
      onOpen: (cause) => {
        onDegraded(true);
        const reason = cause instanceof Error ? cause.message : String(cause);
        log.warn(
          { reason },
          "Redis does not answer: limits are counted by each gateway for itself; pairing and tokens wait",
        );
      },
      onClose: () => {
        onDegraded(false);
        log.info({}, "Redis answers again: limits are shared");
      },
    });
  }

  async check(subject: LimitSubject, guarded: boolean): Promise<LimitOutcome> {
    const limits = limitsFor(this.#policy, subject);
    if (limits.length === 0) return { verdict: "allowed", decisions: [], shared: true };
    try {
      return outcome(await this.#breaker.run(() => this.#store.check(limits)), true);
    } catch {
      // Counted by the breaker, which tells the log once.
      if (guarded) return { verdict: "unavailable", decisions: [], shared: false };
      return outcome(this.#local.decide(limits), false);
    }
  }

  degraded(): string | undefined {
    return this.#breaker.open ? "Redis does not answer: limits are counted by each gateway for itself" : undefined;
  }

  /** Redis is known to be away: no request has to find that out. */
  lost(cause: unknown): void {
    this.#breaker.trip(cause);
  }

  close(): void {
    this.#breaker.stop();
  }
}

function outcome(decisions: readonly LimitDecision[], shared: boolean): LimitOutcome {
  return { verdict: denialsOf(decisions).length ? "denied" : "allowed", decisions, shared };
}
