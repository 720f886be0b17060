// A world for tests: gateways with clocks of their own around one store, on a network that takes its time. No real time passes.
import { silentLog } from "@warren/testing";
import { RedisLimiter } from "../../src/limits/limiter.ts";
import { MemoryStore } from "../../src/limits/memory-store.ts";
import type { LimitSubject, Policy } from "../../src/limits/policy.ts";
import type { Operation, Outcome } from "../../src/limits/store.ts";

/** A request that was let in, and when: on the store's clock, µs since 1970. */
export interface Pass {
  readonly at: number;
}

export interface WorldOptions {
  readonly policy: Policy;
  readonly gateways: number;
  /** The store's clock at the beginning, µs since 1970. */
  readonly start: number;
  /** One way to the store or back, in microseconds; each message takes its own time. */
  readonly delay: (way: "there" | "back") => number;
  /** What gateway `i`'s clock shows at the beginning, in milliseconds, and how fast it runs. */
  readonly clock?: (i: number) => { offset: number; rate: number };
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly happen: () => void;
}

/** Gateways, their store, and the time. */
export class World {
  readonly passes: Pass[] = [];
  /** Times (µs since the beginning) at which requests were denied. */
  readonly denied: number[] = [];
  /** Operations that reached the store. */
  operations = 0;
  readonly #options: WorldOptions;
  readonly #limiters: RedisLimiter[];
  readonly #events: Event[] = [];
  #now = 0;
  #order = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    const central = new MemoryStore({ nowMicros: () => Math.floor(options.start + this.#now) });
    const run = (operation: Operation): Promise<Outcome> =>
      new Promise((resolve) => {
        this.operations += 1;
        this.#after(options.delay("there"), () => {
          const outcome = central.apply(operation);
          this.#after(options.delay("back"), () => resolve(outcome));
        });
      });
    const clockOf = options.clock ?? (() => ({ offset: 0, rate: 1 }));
    this.#limiters = Array.from({ length: options.gateways }, (_, i) => {
      const { offset, rate } = clockOf(i);
      return new RedisLimiter({
        policy: () => options.policy,
        store: { run, probe: () => Promise.resolve() },
        log: silentLog,
        onDegraded: () => {},
        gateways: () => options.gateways,
        now: () => offset + (this.#now / 1000) * rate,
      });
    });
  }

  /** Plans a request. @param at µs since the beginning. */
  request(at: number, gateway: number, subject: LimitSubject): void {
    this.#at(at, () => {
      const before = this.#now;
      const checked = this.#limiters[gateway % this.#limiters.length]?.check(subject, false);
      void Promise.resolve(checked).then((outcome) => {
        if (outcome?.verdict !== "allowed") return this.denied.push(before);
        // A leased request passes when it comes; another when the store has decided, which was later at the most.
        return this.passes.push({ at: this.#options.start + this.#now });
      });
    });
  }

  /** Lets everything happen that is planned. */
  async run(): Promise<void> {
    for (;;) {
      const next = this.#events.shift();
      if (next === undefined) break;
      this.#now = next.at;
      next.happen();
      // What hangs on it happens before the time goes on.
      for (let i = 0; i < 8; i++) await Promise.resolve();
    }
    for (const limiter of this.#limiters) limiter.close();
  }

  #after(micros: number, happen: () => void): void {
    this.#at(this.#now + micros, happen);
  }

  #at(at: number, happen: () => void): void {
    const event = { at, order: this.#order++, happen };
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.#events[middle] as Event;
      if (other.at < at || (other.at === at && other.order < event.order)) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, event);
  }
}
