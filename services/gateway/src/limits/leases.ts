// Leases: quota of a wide limit that a gateway has drawn in advance, and spends without asking anybody.
// Over any stretch W at most burst + rate·W requests pass, whatever gateways do: Redis keeps the counter below
// burst − reserve and leases out no more than the reserve in any LEASE_MICROS, which is as long as a lease is spent from.
import { LEASE_MICROS } from "./algorithms.ts";
import type { KeyedLimit } from "./policy.ts";
import type { Grant, LimitDecision, Outcome } from "./store.ts";

/** A lease is as large as what came in so long, so that little is left when its time is over. Milliseconds. */
const DEMAND_MS = 100;
const LEASE_MS = LEASE_MICROS / 1000;
/** Fewer requests than this are not worth a lease. */
const LEAST = 2;
const MOST_KEYS = 10_000;

/** What was granted at once. */
interface Portion {
  left: number;
  /** When its time is over, on the gateway's clock. */
  readonly until: number;
  /** When it was granted, on the store's clock. */
  readonly from: number;
}

/** What is held of one limit. */
interface Lease {
  /** The oldest first. */
  readonly portions: Portion[];
  /** With fewer left than half of what was granted last it asks for more. */
  half: number;
  /** Left of portions whose time is over, the oldest of which was granted at `returnedFrom`. */
  returned: number;
  returnedFrom: number;
  /** Where the limit stood at the last grant. */
  remaining: number;
  resetMs: number;
  /** Requests in the present stretch of {@link DEMAND_MS}, and in the one before. */
  stretch: number;
  demand: number;
  demandBefore: number;
  refilling: boolean;
}

/** A request that was spent from a lease. */
export interface Taken {
  readonly decision: LimitDecision;
  /** What it was spent from. */
  readonly portion: Portion;
}

/**
 * Gives a request back: another limit has denied it. To the portion it came from, whose time goes on as it did: what was
 * granted is never spent later.
 */
export function putBack({ decision, portion }: Taken): void {
  portion.left += decision.limit.cost;
}

export interface LeaseOptions {
  /** Asks the store for a lease; a failure costs nobody a request. */
  readonly grant: (grant: Grant) => Promise<Outcome>;
  /** How many gateways share the reserve. */
  readonly gateways: () => number;
}

/** What this gateway holds in advance. */
export class Leases {
  readonly #options: LeaseOptions;
  readonly #leases = new Map<string, Lease>();

  constructor(options: LeaseOptions) {
    this.#options = options;
  }

  /**
   * Spends one request from a lease. Undefined: there is none, and the store must be asked.
   * @param now By a clock that never goes back, in milliseconds.
   */
  take(keyed: KeyedLimit, now: number): Taken | undefined {
    const { limit, key } = keyed;
    if (limit.reserve === 0) return undefined;
    const lease = this.#leases.get(key) ?? this.#open(key);
    count(lease, now);
    const portion = current(lease, limit.cost, now);
    if (portion) portion.left -= limit.cost;
    const left = leftOf(lease);
    if (!lease.refilling && left < lease.half + limit.cost) this.#refill(keyed, lease, now);
    if (!portion) return undefined;
    const remaining = lease.remaining + Math.floor(left);
    return { decision: { limit, allowed: true, remaining, resetMs: lease.resetMs, retryMs: 0 }, portion };
  }

  /** Nothing is held any more: the store may have lost what it knew. */
  clear(): void {
    this.#leases.clear();
  }

  #open(key: string): Lease {
    if (this.#leases.size >= MOST_KEYS) {
      const oldest = this.#leases.keys().next().value;
      if (oldest !== undefined) this.#leases.delete(oldest);
    }
    const lease: Lease = {
      portions: [],
      half: 0,
      returned: 0,
      returnedFrom: Infinity,
      remaining: 0,
      resetMs: 0,
      stretch: 0,
      demand: 0,
      demandBefore: 0,
      refilling: false,
    };
    this.#leases.set(key, lease);
    return lease;
  }

  /** Draws as much as comes in {@link DEMAND_MS}, and never holds more than this gateway's share of the reserve. */
  #refill(keyed: KeyedLimit, lease: Lease, now: number): void {
    const { cost, reserve } = keyed.limit;
    const share = reserve / (2 * Math.max(1, this.#options.gateways()));
    const demand = Math.max(lease.demand, lease.demandBefore) * cost;
    const want = Math.floor(Math.min(demand, share - leftOf(lease)));
    if (want < LEAST * cost) return;
    const { returned, returnedFrom } = lease;
    lease.refilling = true;
    lease.returned = 0;
    lease.returnedFrom = Infinity;
    const from = returned > 0 ? returnedFrom : 0;
    this.#options
      .grant({ kind: "grant", limit: keyed, want, returned, from })
      .then(
        (outcome) => received(lease, outcome, now + LEASE_MS),
        () => {
          // The breaker has counted it. What may have been leased is lost, and fades.
        },
      )
      .finally(() => (lease.refilling = false));
  }
}

/** @param until Counted from before the question was sent: the store's own count of the time begins no earlier. */
function received(lease: Lease, { now: from, granted, decisions: [stand] }: Outcome, until: number): void {
  if (granted > 0) lease.portions.push({ left: granted, until, from });
  lease.half = granted / 2;
  lease.remaining = stand?.remaining ?? 0;
  lease.resetMs = stand?.resetMs ?? 0;
}

/** The portion to spend from; those whose time is over, or that hold too little, are put aside. */
function current(lease: Lease, cost: number, now: number): Portion | undefined {
  for (;;) {
    const [portion] = lease.portions;
    if (portion === undefined || (portion.left >= cost && now < portion.until)) return portion;
    lease.portions.shift();
    if (portion.left === 0) continue;
    lease.returned += portion.left;
    lease.returnedFrom = Math.min(lease.returnedFrom, portion.from);
  }
}

function leftOf({ portions }: Lease): number {
  let left = 0;
  for (const portion of portions) left += portion.left;
  return left;
}

function count(lease: Lease, now: number): void {
  const stretch = Math.floor(now / DEMAND_MS);
  if (stretch !== lease.stretch) {
    lease.demandBefore = stretch === lease.stretch + 1 ? lease.demand : 0;
    lease.stretch = stretch;
    lease.demand = 0;
  }
  lease.demand += 1;
}
