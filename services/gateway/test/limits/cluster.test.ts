import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { silentLog, startRedisCluster, type TestRedisCluster, waitUntil } from "@warren/testing";
import { Cluster, Redis } from "ioredis";
import { ClusterStore } from "../../src/limits/cluster-store.ts";
import { tagOf } from "../../src/limits/hash-tag.ts";
import { type LimitOutcome, RedisLimiter } from "../../src/limits/limiter.ts";
import { limitsFor, type LimitSubject, parsePolicy, type Policy, type PolicyInput } from "../../src/limits/policy.ts";
import { connectRedis } from "../../src/limits/redis-client.ts";
import { RedisStore } from "../../src/limits/redis-store.ts";

const subject: LimitSubject = {
  address: "192.0.2.1",
  principal: "device:d",
  tenant: "default",
  limitClass: "chat",
  endpoint: "/v1/chat",
};
/** Two slots or more for most requests, whose limits are all asked for at Redis. */
const narrow: PolicyInput = {
  limits: [
    { name: "ip", algorithm: "window", key: "ip", limit: 40, period: 3600 },
    { name: "principal", algorithm: "bucket", key: "principal", limit: 15, period: 3600 },
    { name: "tenant", algorithm: "window", key: "tenant", limit: 150, period: 3600, lease: false },
  ],
};

async function send(port: number, command: string, ...args: string[]): Promise<unknown> {
  const redis = new Redis({ host: "127.0.0.1", port, lazyConnect: true, retryStrategy: () => null });
  redis.on("error", () => {});
  try {
    await redis.connect();
    return await redis.call(command, ...args);
  } finally {
    redis.disconnect();
  }
}

/** A gateway's limiter. Machines that run many tests at once are slow: 20 ms are for production. */
async function limiter(
  t: TestContext,
  { url }: TestRedisCluster,
  policy: Policy,
  { timeoutMs = 10_000, gateways = 1 } = {},
): Promise<RedisLimiter> {
  const redis = connectRedis(url);
  assert.ok(redis instanceof Cluster);
  redis.on("error", () => {});
  await redis.connect();
  const store = new RedisStore(redis, { timeoutMs });
  await store.load();
  const made = new RedisLimiter({
    policy: () => policy,
    store: new ClusterStore(store),
    log: silentLog,
    onDegraded: () => {},
    gateways: () => gateways,
  });
  t.after(() => {
    made.close();
    redis.disconnect();
  });
  return made;
}

const remaining = ({ decisions }: LimitOutcome): number[] => decisions.map((decision) => decision.remaining);

test("in a cluster the networks of one address lie in one slot, others where they fall", () => {
  const tiers = parsePolicy({
    limits: [64, 56, 48].map((prefix) => ({
      name: `ip-${prefix}`,
      algorithm: "window",
      key: "ip",
      limit: 1,
      period: 1,
      prefix,
    })),
  });
  const met = limitsFor(tiers, { ...subject, address: "2001:db8:1:2::3" });
  assert.deepEqual(
    met.map(tagOf),
    Array.from({ length: 3 }, () => "ip 2001:db8:1::/48"),
  );
  assert.equal(new Set(met.map(({ key }) => key)).size, 3);
  const other = limitsFor(tiers, { ...subject, address: "2001:db8:1:3::3" });
  assert.notEqual(other[0]?.key, met[0]?.key, "another /64 has its own counter");
});

test("a request whose limits lie in several slots is counted by all of them or by none", async (t) => {
  const one = await limiter(t, await startRedisCluster(t, send), parsePolicy(narrow));
  for (let i = 1; i <= 15; i++) assert.deepEqual(remaining(await one.check(subject, false)), [40 - i, 15 - i, 150 - i]);
  for (let i = 0; i < 3; i++) {
    one.changed(); // Nothing is known of the denial before.
    const outcome = await one.check(subject, false);
    assert.equal(outcome.verdict, "denied");
    assert.deepEqual(
      outcome.decisions.map((decision) => decision.allowed),
      [true, false, true],
    );
  }
  assert.deepEqual(remaining(await one.peek(subject)), [25, 0, 135], "what the address had spent came back");
});

test("places and tokens of several slots are given back, each by the clock of its own server", async (t) => {
  const policy = parsePolicy({
    limits: [
      { name: "places", algorithm: "concurrency", key: "ip", limit: 3 },
      { name: "device", algorithm: "window", key: "principal", limit: 1000, period: 3600, unit: "tokens", cost: 400 },
      { name: "all", algorithm: "window", key: "global", limit: 900, period: 3600, unit: "tokens", cost: 400 },
    ],
  });
  const one = await limiter(t, await startRedisCluster(t, send), policy);
  const [a, b] = [await one.check(subject, false), await one.check({ ...subject, principal: "device:e" }, false)];
  assert.deepEqual(remaining(b), [1, 600, 100]);
  assert.equal((await one.check({ ...subject, principal: "device:f" }, false)).verdict, "denied");
  assert.deepEqual(
    remaining(await one.peek({ ...subject, principal: "device:f" })),
    [1, 1000, 100],
    "denied by the last",
  );
  a.hold?.used(150);
  a.hold?.end(false);
  b.hold?.end(true);
  const seen = async (): Promise<string> => remaining(await one.peek(subject)).join();
  await waitUntil("What was given back", 5000, async () => (await seen()) === "3,850,750" || undefined);
});

test("several gateways on a cluster never let through more than each limit allows", async (t) => {
  const cluster = await startRedisCluster(t, send);
  const policy = parsePolicy({
    limits: [...narrow.limits, { name: "wide", algorithm: "bucket", key: "global", limit: 300, period: 1, burst: 100 }],
  });
  const all = await Promise.all(Array.from({ length: 3 }, () => limiter(t, cluster, policy, { gateways: 3 })));
  const passed = new Map<string, number>();
  const count = (key: string): void => void passed.set(key, (passed.get(key) ?? 0) + 1);
  const began = performance.now();
  await Promise.all(
    all.flatMap((each) =>
      Array.from({ length: 8 }, async () => {
        while (performance.now() - began < 2000) {
          const [address, principal] = [`192.0.2.${pick(6)}`, `device:${pick(14)}`];
          const outcome = await each.check({ ...subject, address, principal }, false);
          assert.equal(outcome.shared, true);
          if (outcome.verdict === "allowed") for (const key of [address, principal, "tenant"]) count(key);
          // An answer that was known already takes no turn of the event loop.
          await new Promise((resolve) => setImmediate(resolve));
        }
      }),
    ),
  );
  for (const [key, times] of passed) {
    const most = key === "tenant" ? 150 : key.startsWith("device") ? 15 : 40;
    assert.ok(times <= most, `${key}: ${times} passed, ${most} may`);
  }
  assert.ok((passed.get("tenant") ?? 0) >= 140, `${passed.get("tenant")} passed of 150: refunds come back`);
});

test("slots that move to another primary are followed, and the count goes on", async (t) => {
  const cluster = await startRedisCluster(t, send);
  const policy = parsePolicy({
    limits: [{ name: "p", algorithm: "window", key: "principal", limit: 500, period: 3600 }],
  });
  const one = await limiter(t, cluster, policy);
  const [keyed] = limitsFor(policy, subject);
  assert.ok(keyed);
  for (let i = 0; i < 10; i++) await one.check(subject, false);
  const port = cluster.primaries[0]?.port ?? 0;
  const slot = String(await send(port, "CLUSTER", "KEYSLOT", keyed.key));
  const owner = cluster.primaries[Math.min(2, Math.floor((Number(slot) * 3) / 16_384))];
  const target = cluster.primaries.find((each) => each !== owner);
  assert.ok(owner && target);
  const [ownerId, targetId] = [
    String(await send(owner.port, "CLUSTER", "MYID")),
    String(await send(target.port, "CLUSTER", "MYID")),
  ];
  await send(target.port, "CLUSTER", "SETSLOT", slot, "IMPORTING", ownerId);
  await send(owner.port, "CLUSTER", "SETSLOT", slot, "MIGRATING", targetId);
  assert.deepEqual(remaining(await one.check(subject, false)), [489], "before its key moves");
  await send(owner.port, "MIGRATE", "127.0.0.1", String(target.port), keyed.key, "0", "5000");
  assert.deepEqual(remaining(await one.check(subject, false)), [488], "asked for where it is (ASK)");
  for (const { port: each } of [target, owner]) await send(each, "CLUSTER", "SETSLOT", slot, "NODE", targetId);
  for (let i = 1; i <= 5; i++) assert.deepEqual(remaining(await one.check(subject, false)), [488 - i], "MOVED");
  assert.equal(one.degraded(), undefined);
});

test("without one of the primaries the gateway counts for itself, and goes back when it is there again", async (t) => {
  const cluster = await startRedisCluster(t, send);
  const one = await limiter(
    t,
    cluster,
    parsePolicy({ limits: narrow.limits.map((limit) => ({ ...limit, limit: 100_000 })) }),
    {
      timeoutMs: 200,
    },
  );
  const ask = (): LimitOutcome | Promise<LimitOutcome> =>
    one.check({ ...subject, address: `192.0.2.${pick(200)}`, principal: `device:${pick(200)}` }, false);
  assert.equal((await ask()).shared, true);
  await cluster.primaries[1]?.kill();
  await waitUntil("The breaker", 15_000, async () => {
    assert.equal((await ask()).verdict, "allowed", "ordinary requests go on");
    return one.degraded();
  });
  assert.equal((await one.check(subject, true)).verdict, "unavailable", "what must not go unlimited waits");
  await cluster.primaries[1]?.start();
  await waitUntil("The cluster's decisions", 30_000, async () => {
    const shared = await Promise.all(Array.from({ length: 20 }, async () => (await ask()).shared));
    return shared.every(Boolean) || undefined;
  });
  assert.equal(one.degraded(), undefined);
});

function pick(among: number): number {
  return Math.floor(Math.random() * among);
}
