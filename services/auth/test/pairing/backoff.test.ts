import assert from "node:assert/strict";
import { test } from "node:test";
import type { RpcError } from "@warren/mesh";
import { startNats } from "@warren/testing";
import {
  type AttemptCounter,
  createAttemptCounter,
  FLEET_BACKOFF,
  FORGET_MS,
  NETWORK_BACKOFF,
  PAIRING_BACKOFF,
  waitAfter,
} from "../../src/pairing/backoff.ts";
import { openStores } from "../../src/stores.ts";
import { testClock } from "../support/clock.ts";
import { withCode } from "../support/errors.ts";
import { apart } from "../support/stores.ts";

test("the wait doubles after the free failures, up to a bound", () => {
  assert.deepEqual(
    [1, 2, 3, 4].map((n) => waitAfter(n, PAIRING_BACKOFF)),
    [1000, 2000, 4000, 8000],
  );
  assert.equal(waitAfter(NETWORK_BACKOFF.free, NETWORK_BACKOFF), 0);
  assert.equal(waitAfter(NETWORK_BACKOFF.free + 1, NETWORK_BACKOFF), 1000);
  assert.equal(waitAfter(10_000, NETWORK_BACKOFF), NETWORK_BACKOFF.maxMs);
  assert.equal(waitAfter(10_000, FLEET_BACKOFF), 1000);
});

test("attempts are counted for all replicas together", async (t) => {
  const nats = await startNats(t);
  const all = await Promise.all(
    [nats.connect("auth"), nats.connect("auth")].map(async (mesh) => openStores(await mesh)),
  );
  const policy = { free: 2, baseMs: 1000, maxMs: 60_000 };
  const setup = () => {
    const clock = testClock();
    const name = crypto.randomUUID();
    const counters = all.map((stores) =>
      createAttemptCounter({ kv: apart(stores, name).attempts, prefix: "network", policy, clock: clock.now }),
    );
    return { clock, counters: counters as [AttemptCounter, AttemptCounter] };
  };
  const tooEarly = (retryAfterMs: number) => (error: unknown) =>
    withCode("RESOURCE_EXHAUSTED")(error) && (error as RpcError).details.retryAfterMs === retryAfterMs;

  await t.test("what one replica counted, another enforces", async () => {
    const { clock, counters } = setup();
    for (const counter of [...counters, counters[0]]) await counter.claim("203.0.113.7");
    await assert.rejects(counters[1].check("203.0.113.7"), tooEarly(1000));
    await assert.rejects(counters[1].claim("203.0.113.7"), tooEarly(1000));
    clock.advance(999);
    await assert.rejects(counters[1].claim("203.0.113.7"), tooEarly(1));
    clock.advance(1);
    await counters[1].claim("203.0.113.7");
    await assert.rejects(counters[0].check("203.0.113.7"), tooEarly(2000));
  });

  await t.test("keys do not count for each other", async () => {
    const { counters } = setup();
    for (let i = 0; i < 3; i++) await counters[0].claim("203.0.113.7");
    await counters[0].check("203.0.113.8");
    await counters[0].claim("203.0.113.8");
  });

  await t.test("no crowd gets more attempts than its turn", async () => {
    const { counters } = setup();
    const claims = Array.from({ length: 20 }, (_, i) => counters[i % 2 === 0 ? 0 : 1].claim("203.0.113.7"));
    const outcomes = await Promise.allSettled(claims);
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, policy.free + 1);
    for (const outcome of outcomes)
      if (outcome.status === "rejected") assert.ok(withCode("RESOURCE_EXHAUSTED")(outcome.reason));
  });

  await t.test("an attempt that turned out right does not count", async () => {
    const { counters } = setup();
    for (let i = 0; i < 6; i++) {
      await counters[0].claim("203.0.113.7");
      await counters[1].refund("203.0.113.7");
    }
    await counters[0].check("203.0.113.7");
  });

  await t.test("failures are forgotten five minutes after the last", async () => {
    const { clock, counters } = setup();
    for (let i = 0; i < 3; i++) await counters[0].claim("203.0.113.7");
    clock.advance(FORGET_MS);
    for (let i = 0; i < 3; i++) await counters[0].claim("203.0.113.7");
    await assert.rejects(counters[0].claim("203.0.113.7"), tooEarly(1000));
  });
});
