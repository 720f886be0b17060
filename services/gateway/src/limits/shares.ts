// A gateway's share of each limit while it counts by itself: what all together may do, by the gateways that live.
import type { KeyedLimit, Limit } from "./policy.ts";

/** Divides limits among gateways. */
export class Shares {
  readonly #gateways: () => number;
  #among = 1;
  #shares = new WeakMap<Limit, Limit>();

  constructor(gateways: () => number) {
    this.#gateways = gateways;
  }

  /** The same limits, each this gateway's part of it and at least one request. Nothing is set aside for leases. */
  of(limits: readonly KeyedLimit[]): KeyedLimit[] {
    const among = Math.max(1, this.#gateways());
    if (among !== this.#among) {
      this.#among = among;
      this.#shares = new WeakMap();
    }
    return limits.map(({ limit, key }) => ({ key, limit: this.#share(limit) }));
  }

  #share(limit: Limit): Limit {
    const known = this.#shares.get(limit);
    if (known) return known;
    const part = (amount: number): number => Math.max(limit.cost, amount / this.#among);
    const share: Limit = {
      ...limit,
      reserve: 0,
      burst: part(limit.burst),
      // A bucket's rate may be less than one request in its period; of the others the limit is what passes at once.
      limit: limit.algorithm === "bucket" ? limit.limit / this.#among : part(limit.limit),
    };
    this.#shares.set(limit, share);
    return share;
  }
}
