import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setImmediate as turn, setTimeout as pause } from "node:timers/promises";
import { silentLog, startRedis } from "@warren/testing";
import { RedisLimiter } from "../../src/limits/limiter.ts";
import { parsePolicy, type Policy } from "../../src/limits/policy.ts";
import { connectRedis } from "../../src/limits/redis-client.ts";
import { RedisStore } from "../../src/limits/redis-store.ts";

const subject = {
  address: "192.0.2.1",
  principal: "device:d",
  tenant: "default",
  limitClass: "chat",
  endpoint: "/v1/chat",
};

/** Limiters, each on a connection of its own, as so many gateways have them. */
async function limiters(t: TestContext, path: string, policy: Policy, count: number): Promise<RedisLimiter[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const redis = connectRedis(`unix://${path}`);
      await redis.connect();
      // Machines that run many tests at once are slow: 20 ms are for production.
      const store = new RedisStore(redis, { timeoutMs: 10_000 });
      await store.load();
      const limiter = new RedisLimiter({
        policy: () => policy,
        store,
        log: silentLog,
        onDegraded: () => {},
        gateways: () => count,
      });
      t.after(() => {
        limiter.close();
        redis.disconnect();
      });
      return limiter;
    }),
  );
}

for (const gateways of [1, 3, 8])
  test(`on a real Redis ${gateways} gateways together let through what the limits allow, and hardly less`, async (t) => {
    const { path } = await startRedis(t);
    const policy = parsePolicy({
      limits: [
        { name: "wide", algorithm: "bucket", key: "global", limit: 400, period: 1, burst: 200 },
        { name: "narrow", algorithm: "window", key: "principal", limit: 100, period: 3600 },
      ],
    });
    const all = await limiters(t, path, policy, gateways);
    let passed = 0;
    let asked = 0;
    const perPrincipal = new Map<string, number>();
    const began = performance.now();
    await Promise.all(
      all.flatMap((limiter) =>
        Array.from({ length: 8 }, async () => {
          while (performance.now() - began < 1000) {
            const principal = `device:${Math.floor(Math.random() * 40)}`;
            asked += 1;
            const { verdict } = await limiter.check({ ...subject, principal }, false);
            if (verdict === "allowed") {
              passed += 1;
              perPrincipal.set(principal, (perPrincipal.get(principal) ?? 0) + 1);
            }
            await (Math.random() < 0.1 ? pause(Math.random() * 20) : turn());
          }
        }),
      ),
    );
    const most = 200 + (400 * (performance.now() - began)) / 1000;
    assert.ok(passed <= most + 0.01, `${passed} passed, ${most} may`);
    // A slow machine asks for less than the limits allow.
    const least = 0.7 * Math.min(most, asked);
    assert.ok(passed >= least, `${passed} of ${asked} passed, ${most} may`);
    for (const [principal, count] of perPrincipal) assert.ok(count <= 100, `${principal}: ${count}`);
  });

test("on a real Redis, at 80 % of a limit less than 0.5 % are denied", async (t) => {
  const { path } = await startRedis(t);
  for (const gateways of [1, 3, 8]) {
    const policy = parsePolicy({
      limits: [{ name: `wide-${gateways}`, algorithm: "bucket", key: "global", limit: 1000, period: 1 }],
    });
    const all = await limiters(t, path, policy, gateways);
    const outcomes: Promise<boolean>[] = [];
    const began = performance.now();
    while (outcomes.length < 1000) {
      // 800 a second, in the lumps in which a busy machine wakes up.
      const due = ((performance.now() - began) * 800) / 1000;
      while (outcomes.length < due)
        outcomes.push(
          Promise.resolve(all[outcomes.length % gateways]?.check(subject, false)).then(
            (outcome) => outcome?.verdict === "allowed",
          ),
        );
      await pause(1 + Math.random() * 4);
    }
    const denied = (await Promise.all(outcomes)).filter((allowed) => !allowed).length;
    assert.ok(denied < outcomes.length * 0.005, `${gateways} gateways: ${denied} of ${outcomes.length} denied`);
  }
});
