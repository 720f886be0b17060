// What requests hold while they run, places and reserved tokens: kept while their gateway lives, and ended with them.
import { randomBytes } from "node:crypto";
import { HOLD_MICROS, type KeyedLimit } from "./policy.ts";
import type { LimitStore } from "./store.ts";

/** How often what is held is kept, in milliseconds: thrice before it ends by itself. */
const KEEP_EVERY_MS = HOLD_MICROS / 1000 / 3;

/** What one request holds. */
export interface Hold {
  /** The tokens that the model used, once they are known; what was reserved is set right by them. */
  used(tokens: number): void;
  /**
   * Ends what is held. Tokens of which nobody has told are given back when the model was not asked (`refund`), and stay spent
   * as reserved otherwise.
   */
  end(refund: boolean): void;
}

interface Held {
  readonly id: string;
  readonly limits: readonly KeyedLimit[];
  readonly from: number;
  readonly store: LimitStore;
}

/** Everything that this gateway's requests hold. */
export class Holds {
  readonly #held = new Set<Held>();
  readonly #timer: NodeJS.Timeout;
  // Two gateways, and two lives of one, never give the same name.
  readonly #prefix = randomBytes(8).toString("base64url");
  #next = 0;

  constructor(keepEveryMs = KEEP_EVERY_MS) {
    this.#timer = setInterval(() => this.#keep(), keepEveryMs).unref();
  }

  /** A name for what a request may hold of these limits; empty: they hold nothing. */
  nameFor(limits: readonly KeyedLimit[]): string {
    return limits.some(({ limit }) => limit.holdMicros > 0) ? `${this.#prefix}-${(this.#next++).toString(36)}` : "";
  }

  /** @param limits Those that the request was counted against. @param from When, on the store's clock. */
  open(id: string, limits: readonly KeyedLimit[], from: number, store: LimitStore): Hold | undefined {
    const holding = limits.filter(({ limit }) => limit.holdMicros > 0);
    if (id === "" || holding.length === 0) return undefined;
    const held: Held = { id, limits: holding, from, store };
    this.#held.add(held);
    let tokens: number | undefined;
    return {
      used: (amount) => void (tokens = amount),
      end: (refund) => {
        if (!this.#held.delete(held)) return;
        for (const keyed of holding) end(held, keyed, tokens ?? (refund ? 0 : keyed.limit.cost));
      },
    };
  }

  get size(): number {
    return this.#held.size;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #keep(): void {
    for (const { id: hold, limits, from, store } of this.#held)
      for (const limit of limits) store.run({ kind: "keep", limit, hold, from }).catch(ignore);
  }
}

function end({ id: hold, from, store }: Held, limit: KeyedLimit, used: number): void {
  const place = limit.limit.algorithm === "concurrency";
  store.run(place ? { kind: "release", limit, hold } : { kind: "settle", limit, hold, from, used }).catch(ignore);
}

/** What the store could not be told ends by itself when its time is over. */
function ignore(): void {}
