import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { startRedis, waitUntil } from "@warren/testing";
import type { Redis } from "ioredis";
import { MemoryStore } from "../../src/limits/memory-store.ts";
import { limitsFor, parsePolicy, type PolicyInput } from "../../src/limits/policy.ts";
import { connectRedis } from "../../src/limits/redis-client.ts";
import { RedisStore } from "../../src/limits/redis-store.ts";
import { decide } from "./model.ts";

const subject = {
  address: "192.0.2.1",
  principal: "device:d",
  tenant: "default",
  limitClass: "chat",
  endpoint: "/v1/chat",
};

// Machines that run many tests at once are slow: 20 ms are for production.
async function open(t: TestContext, path: string, timeoutMs = 5000): Promise<{ redis: Redis; store: RedisStore }> {
  const redis = connectRedis(`unix://${path}`);
  redis.on("error", () => {
    // The tests take the server away.
  });
  t.after(() => redis.disconnect());
  await redis.connect();
  return { redis, store: new RedisStore(redis, { timeoutMs }) };
}

const policies: Record<string, PolicyInput["limits"]> = {
  bucket: [{ name: "a", algorithm: "bucket", key: "global", limit: 7, period: 0.05, burst: 5 }],
  window: [{ name: "a", algorithm: "window", key: "global", limit: 5, period: 0.03 }],
  costly: [{ name: "a", algorithm: "bucket", key: "global", limit: 1000, period: 1, burst: 10, cost: 3 }],
  mixed: [
    { name: "a", algorithm: "bucket", key: "global", limit: 300, period: 1, burst: 10 },
    { name: "b", algorithm: "window", key: "ip", limit: 5, period: 0.02 },
    { name: "c", algorithm: "window", key: "principal", limit: 2, period: 0.05, shadow: true },
    { name: "d", algorithm: "bucket", key: "tenant", limit: 3, period: 0.01 },
  ],
};

for (const mode of ["function", "script"] as const)
  for (const [name, limits] of Object.entries(policies))
    test(`Redis decides as the model in memory does, to the last digit (${name}, ${mode})`, async (t) => {
      const { redis, store } = await open(t, (await startRedis(t)).path);
      if (mode === "script") await redis.call("ACL", "SETUSER", "default", "-function", "-fcall");
      await store.load();
      assert.equal(store.mode, mode);
      const policy = parsePolicy({ limits });
      let now = 0;
      const model = new MemoryStore({ nowMicros: () => now });
      const outcomes = new Set<string>();
      for (let i = 0; i < 16; i++) {
        const keyed = limitsFor(policy, subject);
        // All at once, however slow the machine is: quotas run out.
        const run = () => store.run({ kind: "decide", limits: keyed, hold: "" });
        for (const answer of await Promise.all(Array.from({ length: 25 }, run))) {
          now = answer.now;
          assert.deepEqual(answer.decisions, decide(model, keyed), `burst ${i}`);
          outcomes.add(answer.decisions.map((decision) => Number(decision.allowed)).join(""));
        }
        // And come back.
        await new Promise((resolve) => setTimeout(resolve, (i % 4) * 12));
      }
      assert.ok(outcomes.size > 1, "some were allowed and some denied");
    });

test("what a limit denies is written nowhere", async (t) => {
  const { redis, store } = await open(t, (await startRedis(t)).path);
  await store.load();
  const policy = parsePolicy({
    limits: [
      { name: "wide", algorithm: "window", key: "global", limit: 100, period: 60 },
      { name: "narrow", algorithm: "window", key: "ip", limit: 1, period: 60 },
      { name: "shadow", algorithm: "window", key: "ip", limit: 1, period: 60, shadow: true },
    ],
  });
  const keyed = limitsFor(policy, subject);
  assert.deepEqual(
    (await store.check(keyed)).map((each) => [each.allowed, each.remaining]),
    [
      [true, 99],
      [true, 0],
      [true, 0],
    ],
  );
  const kept = await Promise.all(keyed.map(({ key }) => redis.getBuffer(key)));
  for (let i = 0; i < 5; i++)
    assert.deepEqual(
      (await store.check(keyed)).map((each) => [each.allowed, each.remaining]),
      [
        [true, 99],
        [false, 0],
        [false, 0],
      ],
    );
  assert.deepEqual(await Promise.all(keyed.map(({ key }) => redis.getBuffer(key))), kept);
  for (const { key } of keyed) {
    const left = await redis.pttl(key);
    assert.ok(left > 0 && left <= 120_001, "counters go away by themselves");
  }
});

test("callers who come at once never get more than the limit together", async (t) => {
  const { path } = await startRedis(t);
  const stores = await Promise.all(Array.from({ length: 4 }, async () => (await open(t, path)).store));
  await Promise.all(stores.map((store) => store.load()));
  const keyed = limitsFor(
    parsePolicy({ limits: [{ name: "a", algorithm: "window", key: "global", limit: 50, period: 3600 }] }),
    subject,
  );
  const all = await Promise.all(Array.from({ length: 200 }, (_, i) => (stores[i % 4] as RedisStore).check(keyed)));
  assert.equal(all.filter((decisions) => decisions[0]?.allowed).length, 50);
});

test("a server that has forgotten the code is given it again within the same request", async (t) => {
  const { path } = await startRedis(t);
  const { redis, store } = await open(t, path);
  const keyed = limitsFor(
    parsePolicy({ limits: [{ name: "a", algorithm: "window", key: "global", limit: 5, period: 60 }] }),
    subject,
  );
  await store.load();
  await store.check(keyed);
  await redis.call("FUNCTION", "FLUSH");
  assert.equal((await store.check(keyed))[0]?.remaining, 3);
  await redis.call("ACL", "SETUSER", "default", "-function", "-fcall");
  await store.load();
  await redis.call("SCRIPT", "FLUSH");
  assert.equal((await store.check(keyed))[0]?.remaining, 2, "functions and scripts share their counters");
});

test("a client fails at once while the server is away, and finds it again by itself", async (t) => {
  const server = await startRedis(t);
  const { redis, store } = await open(t, server.path, 20);
  await store.load();
  await server.kill();
  await waitUntil("The loss", 5000, () => Promise.resolve(redis.status !== "ready" || undefined));
  const before = performance.now();
  await assert.rejects(store.check([]));
  assert.ok(performance.now() - before < 500, "nothing is queued");
  await server.start();
  await waitUntil("The return", 10_000, () =>
    store.probe().then(
      () => true,
      () => undefined,
    ),
  );
});

test("addresses of other kinds are refused, with what to use", () => {
  assert.throws(() => connectRedis("http://localhost"), /redis:\/\/, rediss:\/\/ or unix:\/\/\/path/);
});

test("a server that asks for a password gets the one that stands apart from the address", async (t) => {
  const { path } = await startRedis(t);
  const admin = connectRedis(`unix://${path}`);
  t.after(() => admin.disconnect());
  await admin.connect();
  await admin.config("SET", "requirepass", "swordfish");
  const [with_, without] = [connectRedis(`unix://${path}`, "swordfish"), connectRedis(`unix://${path}`)];
  t.after(() => [with_, without].forEach((each) => each.disconnect()));
  await with_.connect();
  assert.equal(await with_.ping(), "PONG");
  await without.connect().catch(() => undefined);
  await assert.rejects(without.ping(), /NOAUTH|enableOfflineQueue|closed/i);
});
