import assert from "node:assert/strict";
import test from "node:test";
import { HealthStatus } from "@warren/proto/warren/telemetry/v1/telemetry";
import { Health } from "@warren/service";

test("a service without probes is healthy and ready", async () => {
  const health = new Health();
  assert.deepEqual(await health.report(), { status: HealthStatus.HEALTHY, checks: [] });
  assert.equal(await health.ready(), true);
});

test("the worst probe is the whole's health; what works less well still takes work, what does not work takes none", async () => {
  const health = new Health();
  health.check("fine", () => Promise.resolve());
  assert.equal((await health.report()).status, HealthStatus.HEALTHY);
  health.check("redis", () => Promise.resolve({ degraded: "limits are kept in memory" }));
  assert.equal((await health.report()).status, HealthStatus.DEGRADED);
  assert.equal(await health.ready(), true);
  health.check("nats", () => Promise.reject(new Error("disconnected; reconnecting")));
  const { status, checks } = await health.report();
  assert.equal(status, HealthStatus.UNHEALTHY);
  assert.equal(await health.ready(), false);
  assert.deepEqual(
    checks.map(({ name, status, message }) => [name, status, message]),
    [
      ["fine", HealthStatus.HEALTHY, ""],
      ["redis", HealthStatus.DEGRADED, "limits are kept in memory"],
      ["nats", HealthStatus.UNHEALTHY, "disconnected; reconnecting"],
    ],
  );
});

test("a probe that throws at once, or throws what is no error, is unhealthy like any other", async () => {
  const health = new Health();
  health.check("at once", () => {
    throw new Error("a bug");
  });
  health.check("odd", () => Promise.reject("text" as unknown as Error));
  assert.deepEqual(
    (await health.report()).checks.map(({ status, message }) => [status, message]),
    [
      [HealthStatus.UNHEALTHY, "a bug"],
      [HealthStatus.UNHEALTHY, "the probe failed"],
    ],
  );
});

test("a probe that does not answer is cut after a second, and holds up no other", async () => {
  const health = new Health();
  health.check("stuck", () => new Promise(() => undefined));
  health.check("late failure", () => new Promise((_, reject) => setTimeout(() => reject(new Error("late")), 1200)));
  health.check("quick", () => Promise.resolve());
  const started = performance.now();
  const { checks } = await health.report();
  assert.ok(performance.now() - started < 3000);
  const [stuck, late, quick] = checks;
  assert.deepEqual([stuck?.status, stuck?.message], [HealthStatus.UNHEALTHY, "no answer within 1000 ms"]);
  assert.equal(late?.status, HealthStatus.UNHEALTHY);
  assert.ok((stuck?.durationMs ?? 0) >= 999);
  assert.equal(quick?.status, HealthStatus.HEALTHY);
  assert.ok((quick?.durationMs ?? 1000) < 900);
  // What fails after it was cut is nobody's rejection.
  await new Promise((resolve) => setTimeout(resolve, 300));
});

test("a service that leaves is not ready, though nothing is wrong with it", async () => {
  const health = new Health();
  health.check("fine", () => Promise.resolve());
  health.drain();
  assert.equal(await health.ready(), false);
  assert.equal((await health.report()).status, HealthStatus.HEALTHY);
});

test("a probe of the same name takes the place of the one before", async () => {
  const health = new Health();
  health.check("nats", () => Promise.reject(new Error("not yet")));
  health.check("nats", () => Promise.resolve());
  assert.equal((await health.report()).checks.length, 1);
  assert.equal(await health.ready(), true);
});
