import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { startRedis, type TestRedis } from "@warren/testing";
import * as fc from "fast-check";
import type { Redis } from "ioredis";
import { MemoryStore } from "../../src/limits/memory-store.ts";
import { type KeyedLimit, type Limit, limitsFor, parsePolicy, type PolicyInput } from "../../src/limits/policy.ts";
import { connectRedis } from "../../src/limits/redis-client.ts";
import { RedisStore } from "../../src/limits/redis-store.ts";
import type { LimitStore, Operation, Outcome } from "../../src/limits/store.ts";

const subject = {
  address: "192.0.2.1",
  principal: "device:d",
  tenant: "default",
  limitClass: "chat",
  endpoint: "/v1/chat",
};

async function open(t: TestContext, server?: TestRedis): Promise<{ redis: Redis; store: RedisStore }> {
  const redis = connectRedis(`unix://${(server ?? (await startRedis(t))).path}`);
  t.after(() => redis.disconnect());
  await redis.connect();
  const store = new RedisStore(redis, { timeoutMs: 10_000 });
  await store.load();
  return { redis, store };
}

function keyed(entry: PolicyInput["limits"][number], holdMs?: number): KeyedLimit {
  const [only] = limitsFor(parsePolicy({ limits: [entry] }), subject);
  assert.ok(only);
  return holdMs === undefined ? only : { key: only.key, limit: held(only.limit, holdMs) };
}

/** A limit whose holds end sooner than in production. */
function held(limit: Limit, milliseconds: number): Limit {
  const holdMicros = milliseconds * 1000;
  return { ...limit, holdMicros, spec: limit.spec.replace(` ${limit.holdMicros} `, ` ${holdMicros} `) };
}

const places = { name: "places", algorithm: "concurrency", key: "global", limit: 2 } as const;
const budget = {
  name: "budget",
  algorithm: "window",
  key: "global",
  limit: 1000,
  period: 3600,
  unit: "tokens",
  cost: 400,
} as const;

const decide = async (
  store: LimitStore,
  limit: KeyedLimit,
  hold: string,
): Promise<[allowed: boolean, left: number, from: number]> => {
  const { now, decisions } = await store.run({ kind: "decide", limits: [limit], hold });
  return [decisions[0]?.allowed ?? false, decisions[0]?.remaining ?? -1, now];
};

for (const where of ["Redis", "memory"] as const) {
  const store = async (t: TestContext): Promise<LimitStore> =>
    where === "Redis" ? (await open(t)).store : new MemoryStore();

  test(`${where}: as many requests run at once as there are places, and who ends makes room`, async (t) => {
    const at = await store(t);
    const limit = keyed(places);
    assert.deepEqual((await decide(at, limit, "a")).slice(0, 2), [true, 1]);
    assert.deepEqual((await decide(at, limit, "b")).slice(0, 2), [true, 0]);
    assert.deepEqual((await decide(at, limit, "c")).slice(0, 2), [false, 0]);
    await at.run({ kind: "release", limit, hold: "a" });
    await at.run({ kind: "release", limit, hold: "a" });
    assert.deepEqual((await decide(at, limit, "c")).slice(0, 2), [true, 0]);
    assert.deepEqual((await decide(at, limit, "d")).slice(0, 2), [false, 0]);
  });

  test(`${where}: the places of a gateway that died come back, those of one that lives stay`, async (t) => {
    const at = await store(t);
    const limit = keyed(places, 300);
    await decide(at, limit, "dead");
    await decide(at, limit, "alive");
    const until = performance.now() + 700;
    let seen: [boolean, number] = [false, 0];
    while (performance.now() < until) {
      await at.run({ kind: "keep", limit, hold: "alive", from: 0 });
      const { decisions } = await at.run({ kind: "decide", limits: [limit], hold: "", peek: true });
      seen = [decisions[0]?.allowed ?? false, decisions[0]?.remaining ?? -1];
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.deepEqual(seen, [true, 1]);
  });

  test(`${where}: tokens are reserved, set right, and given back`, async (t) => {
    const at = await store(t);
    const limit = keyed(budget);
    const [, , first] = await decide(at, limit, "a");
    const [, left, second] = await decide(at, limit, "b");
    assert.equal(left, 200);
    assert.equal((await decide(at, limit, "c"))[0], false, "what is reserved is not there for others");
    await at.run({ kind: "settle", limit, hold: "a", from: first, used: 150 });
    assert.deepEqual((await decide(at, limit, "c")).slice(0, 2), [true, 50]);
    await at.run({ kind: "settle", limit, hold: "b", from: second, used: 0 });
    assert.deepEqual((await decide(at, limit, "d")).slice(0, 2), [true, 50], "b's 400 came back, d took them");
    const { decisions } = await at.run({ kind: "decide", limits: [limit], hold: "", peek: true });
    assert.deepEqual([decisions[0]?.allowed, decisions[0]?.remaining], [false, 50]);
  });

  test(`${where}: a model that used more than was reserved leaves a debt`, async (t) => {
    const at = await store(t);
    const limit = keyed(budget);
    const [, , from] = await decide(at, limit, "a");
    await at.run({ kind: "settle", limit, hold: "a", from, used: 1500 });
    const { decisions } = await at.run({ kind: "decide", limits: [limit], hold: "b" });
    assert.deepEqual([decisions[0]?.allowed, decisions[0]?.remaining], [false, 0]);
    assert.ok((decisions[0]?.retryMs ?? 0) > 0);
  });

  test(`${where}: a reservation whose gateway died is given back, and told late it still counts`, async (t) => {
    const at = await store(t);
    const limit = keyed(budget, 150);
    const [, , from] = await decide(at, limit, "a");
    const left = async (): Promise<number> =>
      (await at.run({ kind: "decide", limits: [limit], hold: "", peek: true })).decisions[0]?.remaining ?? -1;
    assert.equal(await left(), 600);
    while ((await left()) !== 1000) await new Promise((resolve) => setTimeout(resolve, 20));
    await at.run({ kind: "settle", limit, hold: "a", from, used: 300 });
    assert.equal(await left(), 700);
  });
}

test("Redis and memory agree on any run of operations, to the last digit", async (t) => {
  const { redis, store } = await open(t);
  const limits = [
    { name: "a", algorithm: "bucket", key: "global", limit: 300, period: 0.1, burst: 60 },
    { name: "b", algorithm: "window", key: "tenant", limit: 1000, period: 0.05 },
    { name: "c", algorithm: "concurrency", key: "global", limit: 3 },
    { name: "d", algorithm: "window", key: "principal", limit: 900, period: 0.2, unit: "tokens", cost: 100 },
    { name: "e", algorithm: "bucket", key: "ip", limit: 50, period: 0.1, burst: 7, shadow: true },
    { name: "f", algorithm: "bucket", key: "ip", limit: 4000, period: 0.5, unit: "tokens", cost: 90 },
  ] satisfies PolicyInput["limits"];
  const met = limits.map((entry) =>
    keyed(entry, "unit" in entry || entry.algorithm === "concurrency" ? 40 : undefined),
  );
  const [a, b, c, d, e, f] = met as [KeyedLimit, KeyedLimit, KeyedLimit, KeyedLimit, KeyedLimit, KeyedLimit];
  const ids = fc.integer({ min: 0, max: 5 });
  const operation = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constant("decide"), id: ids, among: fc.subarray(met, { minLength: 1 }) }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("grant"), id: ids, want: fc.nat(20), returned: fc.nat(5) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("refund"), id: ids }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("settle"), id: ids, used: fc.nat(300) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("release"), id: ids }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("keep"), id: ids }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("wait"), milliseconds: fc.nat(40) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 40 }), async (steps) => {
      await redis.flushall();
      let now = 0;
      let unique = 0;
      const model = new MemoryStore({ nowMicros: () => now });
      // When what a hold of that name reserved was reserved.
      const from = new Map<number, { hold: string; at: number }>();
      for (const [i, step] of steps.entries()) {
        if (step.kind === "wait") {
          await new Promise((resolve) => setTimeout(resolve, step.milliseconds));
          continue;
        }
        const known = from.get(step.id) ?? { hold: "none", at: 1 };
        const operations: Operation[] =
          step.kind === "decide"
            ? [{ kind: "decide", limits: step.among, hold: `h${unique++}` }]
            : step.kind === "grant"
              ? [a, b].map((limit) => ({ kind: "grant", limit, want: step.want, returned: step.returned, from: now }))
              : step.kind === "refund"
                ? [a, b, e].map((limit) => ({ kind: "refund", limit, from: known.at }))
                : step.kind === "settle"
                  ? [d, f].map((limit) => ({
                      kind: "settle",
                      limit,
                      hold: known.hold,
                      from: known.at,
                      used: step.used,
                    }))
                  : step.kind === "release"
                    ? [{ kind: "release", limit: c, hold: known.hold }]
                    : [c, d].map((limit) => ({ kind: "keep", limit, hold: known.hold, from: known.at }));
        // All in one turn, hence in one round trip.
        const outcomes = await Promise.all(operations.map((each) => store.run(each)));
        now = outcomes[0]?.now ?? 0;
        assertSame(
          outcomes,
          operations.map((each) => model.apply(each)),
          `step ${i}: ${step.kind}`,
        );
        if (step.kind === "decide") from.set(step.id, { hold: `h${unique - 1}`, at: now });
      }
    }),
    { numRuns: 20 },
  );
});

test("requests of one turn share a round trip, and each gets its own answer", async (t) => {
  const { redis, store } = await open(t);
  const limit = keyed({ name: "a", algorithm: "window", key: "global", limit: 7, period: 3600 });
  const calls = async (): Promise<number> => {
    const info = await redis.info("commandstats");
    return Number(/cmdstat_fcall:calls=(\d+)/.exec(info)?.[1] ?? 0);
  };
  const before = await calls();
  const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => decide(store, limit, `h${i}`)));
  assert.equal((await calls()) - before, 1);
  assert.deepEqual(
    answers.map(([allowed, left]) => [allowed, left]),
    Array.from({ length: 10 }, (_, i) => (i < 7 ? [true, 6 - i] : [false, 0])),
  );
});

/** The same to the microsecond: times are rounded up to whole ones, on whose edge the last bit of a sum decides. */
function assertSame(found: readonly Outcome[], expected: readonly Outcome[], what: string): void {
  const untimed = (outcomes: readonly Outcome[]): unknown =>
    outcomes.map(({ decisions, ...rest }) => ({
      ...rest,
      decisions: decisions.map(({ resetMs: _, retryMs: __, ...decision }) => decision),
    }));
  const times = (outcomes: readonly Outcome[]): number[] =>
    outcomes.flatMap(({ decisions }) => decisions.flatMap(({ resetMs, retryMs }) => [resetMs, retryMs]));
  assert.deepEqual(untimed(found), untimed(expected), what);
  const others = times(expected);
  for (const [i, time] of times(found).entries())
    assert.ok(Math.abs(time - (others[i] ?? Number.NaN)) < 0.0011, `${what}: ${time} ms and ${others[i]} ms`);
}
