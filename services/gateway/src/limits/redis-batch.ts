// Operations as keys and arguments of the Redis function, and its reply as their outcomes. The form is told in library.lua.
import type { KeyedLimit } from "./policy.ts";
import { type LimitDecision, type Operation, type Outcome, reservation } from "./store.ts";

/** Several operations, written for one call. */
export class Batch {
  readonly keys: string[] = [];
  readonly args: string[] = [];
  readonly #at = new Map<string, string>();

  /** Adds an operation. */
  add(operation: Operation): void {
    const { args } = this;
    switch (operation.kind) {
      case "decide":
        args.push(operation.peek === true ? "p" : "d", String(operation.limits.length), operation.hold);
        for (const keyed of operation.limits) args.push(this.#key(keyed), keyed.limit.spec, String(keyed.limit.cost));
        break;
      case "grant": {
        const { limit, want, returned, from } = operation;
        args.push("g", this.#key(limit), limit.limit.spec, String(want), String(returned), String(from));
        break;
      }
      case "refund": {
        const { limit, from } = operation;
        args.push("r", this.#key(limit), limit.limit.spec, String(from), String(limit.limit.cost));
        break;
      }
      case "settle": {
        const { limit, hold, from, used } = operation;
        const { spec, cost } = limit.limit;
        args.push("s", this.#key(limit), spec, reservation(hold, from, cost), String(from), String(cost), String(used));
        break;
      }
      case "release":
        args.push("x", this.#key(operation.limit), operation.hold);
        break;
      case "keep": {
        const { limit, hold, from } = operation;
        const { algorithm, cost, spec } = limit.limit;
        const member = algorithm === "concurrency" ? hold : reservation(hold, from, cost);
        args.push("k", this.#key(limit), spec, member);
      }
    }
  }

  /** The key's place among KEYS; what it holds lies right behind it. */
  #key({ limit, key }: KeyedLimit): string {
    const known = this.#at.get(key);
    if (known !== undefined) return known;
    this.keys.push(key);
    const at = String(this.keys.length);
    this.#at.set(key, at);
    if (limit.unit === "tokens") this.keys.push(`${key}:held`);
    return at;
  }
}

/** Reads a reply, operation by operation. */
export class Reply {
  readonly #values: readonly number[];
  readonly #now: number;
  #at = 1;

  constructor(values: readonly number[]) {
    this.#values = values;
    this.#now = values[0] ?? 0;
  }

  /** The outcome of the next operation. */
  next(operation: Operation): Outcome {
    const now = this.#now;
    if (operation.kind === "decide") {
      const decisions = operation.limits.map(({ limit }): LimitDecision => {
        const allowed = this.#number() === 1;
        const remaining = this.#number();
        const resetMs = this.#number() / 1000;
        return { limit, allowed, remaining, resetMs, retryMs: this.#number() / 1000 };
      });
      return { now, decisions, granted: 0 };
    }
    if (operation.kind !== "grant") return { now, decisions: [], granted: 0 };
    const granted = this.#number();
    const remaining = this.#number();
    const resetMs = this.#number() / 1000;
    return {
      now,
      granted,
      decisions: [{ limit: operation.limit.limit, allowed: true, remaining, resetMs, retryMs: 0 }],
    };
  }

  #number(): number {
    return this.#values[this.#at++] ?? 0;
  }
}
