// The limiter as the edge sees it: asks Redis while it answers, and says what it does when it does not.
import type { MeshLog } from "@warren/mesh";
import { Breaker } from "./breaker.ts";
import { Denials } from "./denials.ts";
import { denialsOf } from "./headers.ts";
import { type Hold, Holds } from "./holds.ts";
import { Leases, putBack, type Taken } from "./leases.ts";
import { MemoryStore } from "./memory-store.ts";
import { type KeyedLimit, type LimitSubject, limitsFor, type Policy } from "./policy.ts";
import type { RedisStore } from "./redis-store.ts";
import { Shares } from "./shares.ts";
import type { LimitDecision, LimitStore, Operation, Outcome } from "./store.ts";

/** What became of a request at its limits. */
export interface LimitOutcome {
  /** `unavailable`: nobody could say, and the route is one that must not go unlimited. */
  readonly verdict: "allowed" | "denied" | "unavailable";
  /** One for each limit that was asked; of a denial that was known already, the one that denied. */
  readonly decisions: readonly LimitDecision[];
  /** Every limit that the request met. */
  readonly limits: readonly KeyedLimit[];
  /** Whether the counters are those of the whole deployment; headers tell of no others. */
  readonly shared: boolean;
  /** What the request holds until it ends. */
  readonly hold?: Hold | undefined;
}

export interface Limiter {
  /**
   * Decides at once where it can.
   * @param guarded The route must not be served while its limits cannot be known (pairing, tokens, administration).
   */
  check(subject: LimitSubject, guarded: boolean): LimitOutcome | Promise<LimitOutcome>;
  /** Where the limits of a request stand, without counting it. */
  peek(subject: LimitSubject): Promise<LimitOutcome>;
  /** The policy has changed. */
  changed(): void;
  /** Why it is less than it should be; undefined when it is not. */
  degraded(): string | undefined;
  close(): void;
}

const NOT_LIMITED: LimitOutcome = { verdict: "allowed", decisions: [], limits: [], shared: true };

/** How decisions were made, for metrics. */
export type DecidedBy = "redis" | "lease" | "denial" | "memory";

const FAILURES_TO_OPEN = 3;
const PROBE_EVERY_MS = 250;

/** A limiter on this process's memory alone, for a gateway that is given no Redis. */
export function memoryLimiter(policy: () => Policy, store = new MemoryStore()): Limiter {
  const holds = new Holds();
  const shares = new Shares(() => 1);
  return {
    check: (subject) => decideInMemory(store, shares.of(limitsFor(policy(), subject)), holds),
    peek: (subject) => Promise.resolve(decideInMemory(store, shares.of(limitsFor(policy(), subject)), undefined)),
    changed: () => {},
    degraded: () =>
      "limits are counted in this process's memory: set WARREN_REDIS_URL to share them and keep them over restarts",
    close: () => holds.close(),
  };
}

export interface RedisLimiterDependencies {
  readonly policy: () => Policy;
  readonly store: Pick<RedisStore, "run" | "probe">;
  readonly log: MeshLog;
  /** Told when it begins and ends to count by itself. */
  readonly onDegraded: (degraded: boolean) => void;
  /** Told how each request was decided. */
  readonly onDecided?: (by: DecidedBy) => void;
  /** How many gateways live: while Redis is away each takes its share. Default: this one. */
  readonly gateways?: () => number;
  /** Counts while Redis is away. */
  readonly local?: MemoryStore;
  /** A clock that never goes back, in milliseconds. */
  readonly now?: () => number;
}

/** A limiter on Redis. While Redis is away it counts by itself, and refuses guarded routes. */
export class RedisLimiter implements Limiter {
  readonly #deps: RedisLimiterDependencies;
  readonly #store: LimitStore;
  readonly #local: MemoryStore;
  readonly #breaker: Breaker;
  readonly #leases: Leases;
  readonly #denials: Denials;
  readonly #holds = new Holds();
  readonly #shares: Shares;
  readonly #now: () => number;

  constructor(deps: RedisLimiterDependencies) {
    const { store, onDegraded, log, gateways = () => 1, now = () => performance.now() } = deps;
    this.#deps = deps;
    this.#local = deps.local ?? new MemoryStore();
    this.#now = now;
    this.#shares = new Shares(gateways);
    this.#breaker = new Breaker({
      threshold: FAILURES_TO_OPEN,
      probeEveryMs: PROBE_EVERY_MS,
      probe: () => store.probe(),
      onOpen: (cause) => {
        // What Redis will know when it is back is not what it knew.
        this.#forget();
        onDegraded(true);
        const reason = cause instanceof Error ? cause.message : String(cause);
        log.warn(
          { reason, gateways: gateways() },
          "Redis does not answer: limits are counted by each gateway for itself; pairing and tokens wait",
        );
      },
      onClose: () => {
        onDegraded(false);
        log.info({}, "Redis answers again: limits are shared");
      },
    });
    this.#store = { run: (operation: Operation): Promise<Outcome> => this.#breaker.run(() => store.run(operation)) };
    this.#leases = new Leases({ grant: (grant) => this.#store.run(grant), gateways });
    this.#denials = new Denials(now);
  }

  check(subject: LimitSubject, guarded: boolean): LimitOutcome | Promise<LimitOutcome> {
    const limits = limitsFor(this.#deps.policy(), subject);
    if (limits.length === 0) return NOT_LIMITED;
    if (this.#breaker.open) return this.#alone(limits, guarded);
    const now = this.#now();
    if (!this.#denials.empty) {
      const denied = limits.flatMap((keyed) => this.#denials.of(keyed, now) ?? []);
      if (denied.length > 0) return this.#denied(limits, denied);
    }
    // Written out, for most requests come this way: what is leased is decided here and now.
    const taken: (Taken | undefined)[] = [];
    const decisions: LimitDecision[] = [];
    for (const keyed of limits) {
      const each = this.#leases.take(keyed, now);
      taken.push(each);
      if (each) decisions.push(each.decision);
    }
    if (decisions.length < limits.length) return this.#ask(limits, taken, guarded);
    this.#deps.onDecided?.("lease");
    return { verdict: "allowed", decisions, limits, shared: true };
  }

  async peek(subject: LimitSubject): Promise<LimitOutcome> {
    const limits = limitsFor(this.#deps.policy(), subject);
    if (limits.length === 0) return NOT_LIMITED;
    try {
      const { decisions } = await this.#store.run({ kind: "decide", limits, hold: "", peek: true });
      return outcomeOf(decisions, limits, true);
    } catch {
      return decideInMemory(this.#local, this.#shares.of(limits), undefined);
    }
  }

  changed(): void {
    this.#forget();
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
    this.#holds.close();
  }

  #denied(limits: readonly KeyedLimit[], decisions: readonly LimitDecision[]): LimitOutcome {
    this.#deps.onDecided?.("denial");
    return { verdict: "denied", decisions, limits, shared: true };
  }

  async #ask(
    limits: readonly KeyedLimit[],
    taken: readonly (Taken | undefined)[],
    guarded: boolean,
  ): Promise<LimitOutcome> {
    const askedAt = this.#now();
    const asked = limits.filter((_, i) => taken[i] === undefined);
    const hold = this.#holds.nameFor(asked);
    try {
      const { now, times, decisions } = await this.#store.run({ kind: "decide", limits: asked, hold });
      this.#deps.onDecided?.("redis");
      const denied = denialsOf(decisions).length > 0;
      if (denied) for (const each of taken) if (each) putBack(each);
      for (const [i, keyed] of asked.entries()) {
        const decision = decisions[i];
        if (decision?.allowed === false) this.#denials.add(keyed, decision, askedAt);
      }
      let next = 0;
      const all = taken.flatMap((each) => each?.decision ?? decisions[next++] ?? []);
      const spent = asked.flatMap((limit, i) =>
        !denied && decisions[i]?.allowed ? { limit, from: times?.[i] ?? now } : [],
      );
      return { ...outcomeOf(all, limits, true), hold: this.#holds.open(hold, spent, this.#store) };
    } catch {
      // Counted by the breaker, which tells the log once.
      return this.#alone(limits, guarded);
    }
  }

  #alone(limits: readonly KeyedLimit[], guarded: boolean): LimitOutcome {
    if (guarded) return { verdict: "unavailable", decisions: [], limits: [], shared: false };
    this.#deps.onDecided?.("memory");
    return decideInMemory(this.#local, this.#shares.of(limits), this.#holds);
  }

  #forget(): void {
    this.#leases.clear();
    this.#denials.clear();
  }
}

/** @param holds Absent: only looks. */
function decideInMemory(store: MemoryStore, limits: readonly KeyedLimit[], holds: Holds | undefined): LimitOutcome {
  const hold = holds?.nameFor(limits) ?? "";
  const { now, decisions } = store.apply({ kind: "decide", limits, hold, peek: holds === undefined });
  const outcome = outcomeOf(decisions, limits, false);
  const spent = limits.flatMap((limit, i) =>
    outcome.verdict === "allowed" && decisions[i]?.allowed ? { limit, from: now } : [],
  );
  return { ...outcome, hold: holds?.open(hold, spent, store) };
}

function outcomeOf(decisions: readonly LimitDecision[], limits: readonly KeyedLimit[], shared: boolean): LimitOutcome {
  const verdict = denialsOf(decisions).length > 0 ? "denied" : "allowed";
  return { verdict, decisions, limits, shared };
}
