// Counters in this process's memory: for a gateway without Redis, and for one whose Redis is down.
import { type Counter, correct, EPSILON, lease, read, type Reading, refund, retryAfter, spend } from "./algorithms.ts";
import type { KeyedLimit } from "./policy.ts";
import {
  type Decide,
  type Grant,
  type Keep,
  type LimitDecision,
  type LimitStore,
  type Operation,
  type Outcome,
  type Refund,
  reservation,
  type Settle,
} from "./store.ts";

interface Kept {
  readonly counter: Counter;
  /** Microseconds since 1970. */
  readonly expiresAt: number;
}

const DEFAULT_MOST_COUNTERS = 100_000;
/** A place that is free again is told to nobody: who was denied one may try again after this time, in milliseconds. */
const PLACE_RETRY_MS = 1_000;

/** Bounded: beyond `mostCounters` the counter that was written first is forgotten. */
export class MemoryStore implements LimitStore {
  readonly #counters = new Map<string, Kept>();
  /** By key, what is held: its name and when it ends. */
  readonly #holds = new Map<string, Map<string, number>>();
  readonly #nowMicros: () => number;
  readonly #mostCounters: number;

  constructor(options: { nowMicros?: () => number; mostCounters?: number } = {}) {
    this.#nowMicros = options.nowMicros ?? (() => Math.floor((performance.timeOrigin + performance.now()) * 1000));
    this.#mostCounters = options.mostCounters ?? DEFAULT_MOST_COUNTERS;
  }

  run(operation: Operation): Promise<Outcome> {
    return Promise.resolve(this.apply(operation));
  }

  /** {@link run} without the wait. */
  apply(operation: Operation): Outcome {
    const now = this.#nowMicros();
    switch (operation.kind) {
      case "decide":
        return { now, decisions: this.#decide(operation, now), granted: 0 };
      case "grant":
        return this.#grant(operation, now);
      case "refund":
        this.#refund(operation, now);
        break;
      case "settle":
        this.#settle(operation, now);
        break;
      case "release":
        this.#drop(operation.limit.key, operation.hold);
        break;
      case "keep":
        this.#keepHold(operation, now);
    }
    return { now, decisions: [], granted: 0 };
  }

  /** How many counters are held. */
  get size(): number {
    return this.#counters.size;
  }

  #decide({ limits, hold, peek }: Decide, now: number): LimitDecision[] {
    const readings = limits.map((keyed) => this.#read(keyed, now));
    const fits = (i: number, cost: number): boolean => {
      const reading = readings[i];
      return reading !== undefined && reading.used + cost <= reading.most + EPSILON;
    };
    const denied = limits.some(({ limit }, i) => !limit.shadow && !fits(i, limit.cost));
    return limits.map((keyed, i) => {
      const { limit, key } = keyed;
      let reading = readings[i] as Reading;
      const allowed = fits(i, limit.cost);
      const retry = allowed || limit.algorithm === "concurrency" ? 0 : retryAfter(limit, reading, limit.cost);
      if (allowed && !denied && !peek) {
        const place = limit.algorithm === "concurrency";
        const until = now + limit.holdMicros;
        if (limit.holdMicros > 0) this.#hold(key, place ? hold : reservation(hold, now, limit.cost), until);
        reading = place
          ? { ...reading, used: reading.used + 1 }
          : this.#keep(key, spend(limit, reading, limit.cost), now);
      }
      return {
        limit,
        allowed,
        remaining: remainingOf(reading),
        resetMs: Math.ceil(reading.reset) / 1000,
        retryMs: !allowed && limit.algorithm === "concurrency" ? PLACE_RETRY_MS : Math.ceil(retry) / 1000,
      };
    });
  }

  #grant({ limit: keyed, want, returned, from }: Grant, now: number): Outcome {
    const { limit, key } = keyed;
    const before = this.#read(keyed, now);
    const whole = returned > 0 ? correct(limit, before, now, from, -returned) : before;
    const { granted, reading } = lease(limit, whole, now, want);
    this.#keep(key, reading, now);
    const resetMs = Math.ceil(reading.reset) / 1000;
    return {
      now,
      granted,
      decisions: [{ limit, allowed: true, remaining: remainingOf(reading), resetMs, retryMs: 0 }],
    };
  }

  #refund({ limit: keyed, from }: Refund, now: number): void {
    this.#keep(keyed.key, refund(keyed.limit, this.#read(keyed, now), now, from), now);
  }

  #settle({ limit: keyed, hold, from, used }: Settle, now: number): void {
    const { limit, key } = keyed;
    const reading = this.#read(keyed, now);
    const present = this.#drop(key, reservation(hold, from, limit.cost));
    this.#keep(key, correct(limit, reading, now, present ? from : now, present ? used - limit.cost : used), now);
  }

  #keepHold({ limit: { limit, key }, hold, from }: Keep, now: number): void {
    const member = limit.algorithm === "concurrency" ? hold : reservation(hold, from, limit.cost);
    if (this.#holds.get(key)?.has(member)) this.#hold(key, member, now + limit.holdMicros);
  }

  #read({ limit, key }: KeyedLimit, now: number): Reading {
    if (limit.algorithm === "concurrency") {
      this.#expired(key, now);
      const used = this.#holds.get(key)?.size ?? 0;
      return { counter: NOTHING, used, most: limit.limit, reset: 0, ttl: 0 };
    }
    const kept = this.#counters.get(key);
    let reading = read(limit, kept && kept.expiresAt > now ? kept.counter : undefined, now);
    if (limit.holdMicros === 0) return reading;
    // Reservations that nobody has set right or kept are given back.
    for (const member of this.#expired(key, now)) {
      const [, from = 0, amount = 0] = member.split(":").map(Number);
      reading = correct(limit, reading, now, from, -amount);
      this.#keep(key, reading, now);
    }
    return reading;
  }

  #keep(key: string, reading: Reading, now: number): Reading {
    // Written last stands last, so that the first one is the one least recently spent from.
    this.#counters.delete(key);
    this.#counters.set(key, { counter: reading.counter, expiresAt: now + reading.ttl });
    if (this.#counters.size <= this.#mostCounters) return reading;
    const oldest = this.#counters.keys().next().value;
    if (oldest !== undefined) this.#counters.delete(oldest);
    return reading;
  }

  #hold(key: string, member: string, until: number): void {
    const held = this.#holds.get(key) ?? new Map<string, number>();
    held.set(member, until);
    this.#holds.set(key, held);
  }

  /** Whether it was held. */
  #drop(key: string, member: string): boolean {
    const held = this.#holds.get(key);
    const present = held?.delete(member) ?? false;
    if (held?.size === 0) this.#holds.delete(key);
    return present;
  }

  #expired(key: string, now: number): string[] {
    const ended = [...(this.#holds.get(key) ?? [])].flatMap(([member, until]) => (until <= now ? [member] : []));
    for (const member of ended) this.#drop(key, member);
    return ended;
  }
}

const NOTHING: Counter = { at: 0, previous: 0, current: 0, leaseSlot: 0, leasedBefore: 0, leasedNow: 0 };

function remainingOf({ most, used }: Reading): number {
  return Math.max(0, Math.floor(most - used + EPSILON));
}
