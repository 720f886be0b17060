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

/** One limit of a request, and when it was counted, on the clock of the server that did. */
export interface Spent {
  readonly limit: KeyedLimit;
  readonly from: number;
}

interface Held {
  readonly id: string;
  readonly spent: readonly Spent[];
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

  /** @param spent The limits that the request was counted against. */
  open(id: string, spent: readonly Spent[], store: LimitStore): Hold | undefined {
    const holding = spent.filter(({ limit: { limit } }) => limit.holdMicros > 0);
    if (id === "" || holding.length === 0) return undefined;
    const held: Held = { id, spent: holding, store };
    this.#held.add(held);
    let tokens: number | undefined;
    return {
      used: (amount) => void (tokens = amount),
      end: (refund) => {
        if (!this.#held.delete(held)) return;
        for (const each of holding) end(held, each, tokens ?? (refund ? 0 : each.limit.limit.cost));
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
    for (const { id: hold, spent, store } of this.#held)
      for (const { limit, from } of spent) store.run({ kind: "keep", limit, hold, from }).catch(ignore);
  }
}

function end({ id: hold, store }: Held, { limit, from }: Spent, used: number): void {
  const place = limit.limit.algorithm === "concurrency";
  store.run(place ? { kind: "release", limit, hold } : { kind: "settle", limit, hold, from, used }).catch(ignore);
}

/** What the store could not be told ends by itself when its time is over. */
function ignore(): void {}
