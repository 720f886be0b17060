import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { MemoryStore } from "../../src/limits/memory-store.ts";
import { limitsFor, parsePolicy, type PolicyInput } from "../../src/limits/policy.ts";
import { admits, decide } from "./model.ts";

const subject = {
  address: "192.0.2.1",
  principal: "device:d",
  tenant: "default",
  limitClass: "chat",
  endpoint: "/v1/chat",
};
// Whole microseconds since 1970, as a server's clock gives them.
const START = 1_790_000_000_000_000;

const limits = fc.record({
  algorithm: fc.constantFrom("bucket", "window"),
  limit: fc.integer({ min: 1, max: 20 }),
  period: fc.constantFrom(0.05, 1, 3, 60),
  burst: fc.integer({ min: 1, max: 30 }),
});

function limitOf(
  name: string,
  { algorithm, limit, period, burst }: { algorithm: string; limit: number; period: number; burst: number },
): PolicyInput["limits"][number] {
  const common = { name, key: "global" as const, limit, period };
  return algorithm === "bucket" ? { ...common, algorithm: "bucket", burst } : { ...common, algorithm: "window" };
}

// Gaps from nothing at all to several periods.
const gaps = fc.array(fc.oneof(fc.nat(100), fc.nat(100_000), fc.nat(5_000_000), fc.nat(100_000_000)), {
  maxLength: 60,
});

test("each limit admits exactly what the model admits, whenever requests come", () => {
  fc.assert(
    fc.property(limits, gaps, (shape, waits) => {
      const policy = parsePolicy({ limits: [limitOf("only", shape)] });
      let now = START;
      const store = new MemoryStore({ nowMicros: () => now });
      const admitted: { at: number; cost: number }[] = [];
      for (const wait of waits) {
        now += wait;
        const [keyed] = limitsFor(policy, subject);
        const [decision] = decide(store, limitsFor(policy, subject));
        assert.ok(keyed && decision);
        // Within the clock's resolution of the edge, either answer is right.
        const near = admits(keyed.limit, admitted, now - 1) !== admits(keyed.limit, admitted, now + 1);
        if (!near) assert.equal(decision.allowed, admits(keyed.limit, admitted, now));
        if (decision.allowed) admitted.push({ at: now, cost: 1 });
      }
    }),
    { numRuns: 500 },
  );
});

test("over any stretch of time a bucket lets through no more than its burst and its rate", () => {
  fc.assert(
    fc.property(limits, gaps, (shape, waits) => {
      const policy = parsePolicy({ limits: [limitOf("only", { ...shape, algorithm: "bucket" })] });
      let now = START;
      const store = new MemoryStore({ nowMicros: () => now });
      const admitted: number[] = [];
      for (const wait of waits) {
        now += wait;
        if (decide(store, limitsFor(policy, subject))[0]?.allowed) admitted.push(now);
      }
      const rate = shape.limit / (shape.period * 1e6);
      for (const [i, from] of admitted.entries())
        for (const [j, to] of admitted.entries())
          if (j >= i) assert.ok(j - i + 1 <= shape.burst + (to - from) * rate + 0.01);
    }),
    { numRuns: 300 },
  );
});

test("a denied request passes after the time it is told, and not before", () => {
  fc.assert(
    fc.property(limits, gaps, (shape, waits) => {
      const policy = parsePolicy({ limits: [limitOf("only", shape)] });
      let now = START;
      const store = new MemoryStore({ nowMicros: () => now });
      for (const wait of waits) {
        now += wait;
        const [decision] = decide(store, limitsFor(policy, subject));
        assert.ok(decision);
        if (decision.allowed) continue;
        const retry = Math.ceil(decision.retryMs * 1000);
        const asked = now;
        // A millionth of a request, which is what the arithmetic forgives, is as many microseconds as the period has seconds.
        const margin = 2 + Math.ceil(shape.period);
        now = asked + Math.max(0, retry - margin);
        if (retry > margin) assert.equal(decide(store, limitsFor(policy, subject))[0]?.allowed, false);
        now = asked + retry + 2;
        assert.equal(decide(store, limitsFor(policy, subject))[0]?.allowed, true, `after ${retry} µs`);
      }
    }),
    { numRuns: 300 },
  );
});

test("several limits are all spent from, or none", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(limits, fc.boolean()), { minLength: 2, maxLength: 5 }), gaps, (shapes, waits) => {
      const policy = parsePolicy({
        limits: shapes.map(([shape, shadow], i) => ({ ...limitOf(`limit-${i}`, shape), shadow })),
      });
      let now = START;
      const store = new MemoryStore({ nowMicros: () => now });
      const spent = shapes.map((): { at: number; cost: number }[] => []);
      for (const wait of waits) {
        now += wait;
        const keyed = limitsFor(policy, subject);
        const decisions = decide(store, keyed);
        const denied = decisions.some((decision) => !decision.allowed && !decision.limit.shadow);
        for (const [i, decision] of decisions.entries()) {
          const before = spent[i] ?? [];
          const near = admits(decision.limit, before, now - 1) !== admits(decision.limit, before, now + 1);
          if (!near) assert.equal(decision.allowed, admits(decision.limit, before, now));
          if (decision.allowed && !denied) before.push({ at: now, cost: 1 });
        }
      }
    }),
    { numRuns: 200 },
  );
});

test("a clock that is set back locks nobody out for longer than the limit's own time", () => {
  for (const algorithm of ["bucket", "window"])
    for (const back of [1, 1000, 999_999, 1_000_001, 3_600_000_000]) {
      const policy = parsePolicy({ limits: [limitOf("only", { algorithm, limit: 5, period: 1, burst: 5 })] });
      let now = START;
      const store = new MemoryStore({ nowMicros: () => now });
      for (let i = 0; i < 5; i++) decide(store, limitsFor(policy, subject));
      now -= back;
      const until = now + 3_000_000;
      let passed = false;
      for (; now <= until && !passed; now += 100_000)
        passed = decide(store, limitsFor(policy, subject))[0]?.allowed ?? false;
      assert.ok(passed, `${algorithm}, ${back} µs back`);
    }
});

test("a bucket gives its whole burst at one instant, whatever its rate", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1_000_000 }),
      fc.integer({ min: 1, max: 86_400 }),
      fc.integer({ min: 1, max: 200 }),
      (limit, period, burst) => {
        const policy = parsePolicy({
          limits: [{ ...limitOf("only", { algorithm: "bucket", limit, period, burst }), lease: false }],
        });
        const store = new MemoryStore({ nowMicros: () => START });
        const remaining = Array.from({ length: burst }, () => decide(store, limitsFor(policy, subject))[0]);
        assert.deepEqual(
          remaining.map((decision) => [decision?.allowed, decision?.remaining]),
          remaining.map((_, i) => [true, burst - 1 - i]),
        );
        assert.equal(decide(store, limitsFor(policy, subject))[0]?.allowed, false);
      },
    ),
  );
});

test("memory is bounded: the counter least recently spent from is forgotten", () => {
  const policy = parsePolicy({ limits: [{ name: "ip", algorithm: "window", key: "ip", limit: 1, period: 60 }] });
  const store = new MemoryStore({ nowMicros: () => START, mostCounters: 10 });
  const ask = (address: string): boolean | undefined =>
    decide(store, limitsFor(policy, { ...subject, address }))[0]?.allowed;
  for (let i = 0; i < 100; i++) assert.equal(ask(`10.0.0.${i}`), true);
  assert.equal(store.size, 10);
  assert.equal(ask("10.0.0.99"), false);
  assert.equal(ask("10.0.0.1"), true);
});
