import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { type Limit, parsePolicy, type PolicyInput } from "../../src/limits/policy.ts";
import { type Pass, World } from "./world.ts";

const START = 1_790_000_000_000_000;
const subject = {
  address: "192.0.2.1",
  principal: "device:d",
  tenant: "default",
  limitClass: "chat",
  endpoint: "/v1/chat",
};

/** Numbers from 0 to 1 that a seed decides (mulberry32). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** How many requests more than the limit allows passed in the worst stretch of time; not above 0 when it was kept. */
function excess(limit: Limit, passes: readonly Pass[]): number {
  const times = passes.map(({ at }) => at).sort((a, b) => a - b);
  if (limit.algorithm === "window") {
    // The definition of the limit, told by what passed when.
    let worst = -Infinity;
    for (const [i, at] of times.entries()) {
      const start = at - (at % limit.periodMicros);
      const within = (from: number, to: number): number =>
        times.slice(0, i + 1).filter((each) => each >= from && each < to).length;
      const previous = within(start - limit.periodMicros, start);
      const current = within(start, Infinity);
      worst = Math.max(worst, previous * (1 - (at - start) / limit.periodMicros) + current - limit.limit);
    }
    return worst;
  }
  // A bucket that may never hold more than its burst: the highest level that was ever reached.
  const rate = limit.limit / limit.periodMicros;
  let level = 0;
  let last = times[0] ?? 0;
  let worst = -Infinity;
  for (const at of times) {
    level = Math.max(0, level - (at - last) * rate) + 1;
    last = at;
    worst = Math.max(worst, level - limit.burst);
  }
  return worst;
}

const wide = fc.oneof(
  fc.record({
    algorithm: fc.constant("bucket" as const),
    limit: fc.integer({ min: 20, max: 2000 }),
    period: fc.constantFrom(1, 10),
    burst: fc.integer({ min: 40, max: 400 }),
  }),
  fc.record({
    algorithm: fc.constant("window" as const),
    limit: fc.integer({ min: 1000, max: 1500 }),
    period: fc.constantFrom(0.5, 1),
  }),
);

for (const gateways of [1, 3, 8])
  test(`with ${gateways} gateways no traffic, no network and no clocks get more through than a leased limit allows`, async () => {
    await fc.assert(
      fc.asyncProperty(wide, fc.integer(), fc.integer({ min: 1, max: 40 }), async (shape, seed, load) => {
        const policy = parsePolicy({
          limits: [{ name: "wide", key: "global", ...shape } as PolicyInput["limits"][number]],
        });
        const [limit] = policy.limits;
        assert.ok(limit && limit.reserve >= 2);
        const next = random(seed);
        const slow = next() < 0.5 ? 200 : 20_000;
        const world = new World({
          policy,
          gateways,
          start: START + Math.floor(next() * 1e6),
          // Latency on the way there: what the store decides is told at once, so that it passes when it was decided.
          delay: (way) => (way === "there" ? Math.floor(next() * slow) : 0),
          clock: () => ({ offset: next() * 1e7, rate: 1 + (next() - 0.5) * 1e-4 }),
        });
        // Bursts and rests, at up to 40 times the limit's rate.
        const mean = limit.periodMicros / limit.limit / (load / 4);
        let at = 0;
        for (let i = 0; i < 800; i++) {
          at += next() < 0.01 ? next() * 300_000 : -Math.log(1 - next()) * mean;
          world.request(at, Math.floor(next() * gateways), subject);
        }
        await world.run();
        assert.ok(world.passes.length > 0);
        const over = excess(limit, world.passes);
        assert.ok(over <= 0.01, `${over.toFixed(3)} requests too many`);
      }),
      { numRuns: 8 },
    );
  });

for (const gateways of [1, 3, 8])
  test(`with ${gateways} gateways, at 80 % of a limit less than 0.5 % are denied wrongly`, async () => {
    for (const [name, entry] of Object.entries({
      "the default": { algorithm: "bucket", limit: 20, period: 1, burst: 100 },
      "a fast one": { algorithm: "bucket", limit: 500, period: 1, burst: 500 },
      "a window": { algorithm: "window", limit: 1200, period: 2 },
    } satisfies Record<string, Partial<PolicyInput["limits"][number]>>)) {
      const policy = parsePolicy({ limits: [{ name: "wide", key: "global", ...entry }] });
      const [limit] = policy.limits;
      assert.ok(limit);
      const next = random(gateways * 7919);
      const world = new World({ policy, gateways, start: START, delay: () => 100 + next() * 400 });
      const mean = limit.periodMicros / limit.limit / 0.8;
      let at = 0;
      let asked = 0;
      for (; asked < 2500; asked++) {
        at += -Math.log(1 - next()) * mean;
        world.request(at, Math.floor(next() * gateways), subject);
      }
      await world.run();
      // Poisson traffic of 80 % never fills these quotas: whatever is denied is denied wrongly.
      const share = world.denied.length / asked;
      assert.ok(share < 0.005, `${name}: ${world.denied.length} of ${asked} denied`);
      assert.ok(world.passes.length + world.denied.length === asked);
    }
  });

test("a busy gateway asks the store a few times a lease, not for each request", async () => {
  const policy = parsePolicy({
    limits: [{ name: "wide", algorithm: "bucket", key: "global", limit: 100_000, period: 1 }],
  });
  const world = new World({ policy, gateways: 1, start: START, delay: () => 200 });
  for (let i = 0; i < 5000; i++) world.request(i * 300, 0, subject);
  await world.run();
  assert.equal(world.passes.length, 5000);
  const perThousand = world.operations / 5;
  assert.ok(perThousand < 60, `${perThousand} operations per thousand requests`);
});
