// Counters in a Redis Cluster, where one call reaches one slot: a request whose limits lie in several asks one after the other,
// and takes back what it has spent when a later one denies.
import { tagOf } from "./hash-tag.ts";
import { denialsOf } from "./headers.ts";
import type { KeyedLimit } from "./policy.ts";
import type { RedisStore } from "./redis-store.ts";
import type { Decide, LimitDecision, LimitStore, Operation, Outcome } from "./store.ts";

/** Limits of one slot, and their places among those of the request. */
type Part = readonly { readonly keyed: KeyedLimit; readonly at: number }[];

/** An answer of one slot. */
interface Answer {
  readonly part: Part;
  readonly outcome: Outcome;
}

/**
 * All or nothing over several slots. Never more passes than the limits allow: whatever passes has been counted by each of them, and
 * a refund takes back no more than the request still weighs. While one is on its way, others may be denied in its place.
 */
export class ClusterStore implements LimitStore {
  readonly #store: Pick<RedisStore, "run" | "probe" | "timeoutMs">;

  constructor(store: Pick<RedisStore, "run" | "probe" | "timeoutMs">) {
    this.#store = store;
  }

  /** Fails unless each primary answers and every slot has one. */
  probe(): Promise<void> {
    return this.#store.probe();
  }

  async run(operation: Operation): Promise<Outcome> {
    if (operation.kind !== "decide") return this.#store.run(operation);
    const slots = Map.groupBy(
      operation.limits.map((keyed, at) => ({ keyed, at })),
      ({ keyed }) => tagOf(keyed),
    );
    const parts = [...slots.values()];
    if (parts.length <= 1) return this.#store.run(operation);
    return operation.peek === true
      ? join(await this.#peek(parts, operation), operation)
      : this.#decide(parts, operation);
  }

  /** In the policy's order. What follows a denial is only looked at, for the answer's headers. */
  async #decide(parts: readonly Part[], operation: Decide): Promise<Outcome> {
    const spent: Answer[] = [];
    const before = performance.now();
    for (const [i, part] of parts.entries()) {
      let outcome: Outcome;
      try {
        // A slot that is asked too late answers after the request has gone on without it.
        if (performance.now() - before > this.#store.timeoutMs) throw new Error("The slots together take too long");
        outcome = await this.#ask(part, operation);
      } catch (error) {
        void this.#takeBack(spent, operation.hold);
        throw error;
      }
      if (denialsOf(outcome.decisions).length > 0) {
        // Before the answer: whoever is told "denied" finds everything as it was.
        const [seen] = await Promise.all([
          this.#peek(parts.slice(i + 1), operation),
          this.#takeBack(spent, operation.hold),
        ]);
        return join([...spent, { part, outcome }, ...seen], operation);
      }
      spent.push({ part, outcome });
    }
    return join(spent, operation);
  }

  #ask(part: Part, operation: Decide): Promise<Outcome> {
    return this.#store.run({ ...operation, limits: part.map(({ keyed }) => keyed) });
  }

  #peek(parts: readonly Part[], operation: Decide): Promise<Answer[]> {
    return Promise.all(
      parts.map(async (part) => ({ part, outcome: await this.#ask(part, { ...operation, hold: "", peek: true }) })),
    );
  }

  /** What cannot be taken back stays spent: then less passes, never more. */
  async #takeBack(spent: readonly Answer[], hold: string): Promise<void> {
    const refunds = spent.flatMap(({ part, outcome: { now, decisions } }) =>
      part.flatMap(({ keyed }, i) => (decisions[i]?.allowed ? this.#store.run(refundOf(keyed, hold, now)) : [])),
    );
    await Promise.allSettled(refunds);
  }
}

function refundOf(limit: KeyedLimit, hold: string, from: number): Operation {
  if (limit.limit.algorithm === "concurrency") return { kind: "release", limit, hold };
  if (limit.limit.holdMicros > 0) return { kind: "settle", limit, hold, from, used: 0 };
  return { kind: "refund", limit, from };
}

/** One outcome, in the order of the request's limits, each with the time of its own server. */
function join(answers: readonly Answer[], { limits }: Decide): Outcome {
  const decisions: LimitDecision[] = Array.from({ length: limits.length });
  const times: number[] = Array.from({ length: limits.length });
  for (const { part, outcome } of answers)
    for (const [i, { at }] of part.entries()) {
      decisions[at] = outcome.decisions[i] as LimitDecision;
      times[at] = outcome.now;
    }
  return { now: Math.max(...times), times, decisions, granted: 0 };
}
