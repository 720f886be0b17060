import assert from "node:assert/strict";
import { test } from "node:test";
import { limitHeaders } from "../../src/limits/headers.ts";
import { parsePolicy } from "../../src/limits/policy.ts";
import type { LimitDecision } from "../../src/limits/store.ts";

const { limits } = parsePolicy({
  limits: [
    { name: "global", algorithm: "bucket", key: "global", limit: 20, period: 1, burst: 100 },
    { name: "ip", algorithm: "window", key: "ip", limit: 60, period: 60 },
    { name: "trial", algorithm: "window", key: "ip", limit: 1, period: 60, shadow: true },
  ],
});
const [global, ip, trial] = limits;
assert.ok(global && ip && trial);

const headersOf = (decisions: readonly LimitDecision[]) =>
  limitHeaders({ decisions, limits: decisions.map(({ limit }) => ({ limit, key: limit.name })) });

test("a request within its limits is told what is left, and the tightest in the older form", () => {
  const headers = headersOf([
    { limit: global, allowed: true, remaining: 99, resetMs: 50, retryMs: 0 },
    { limit: ip, allowed: true, remaining: 50, resetMs: 29_400, retryMs: 0 },
    { limit: trial, allowed: false, remaining: 0, resetMs: 1000, retryMs: 1000 },
  ]);
  assert.deepEqual(headers, {
    "ratelimit-policy": '"global";q=100;w=5, "ip";q=60;w=60',
    ratelimit: '"global";r=99;t=1, "ip";r=50;t=30',
    "x-ratelimit-limit": "60",
    "x-ratelimit-remaining": "50",
    "x-ratelimit-reset": "30",
  });
});

test("a denied request is told who denied it and when to come back, never too early", () => {
  const headers = headersOf([
    { limit: global, allowed: false, remaining: 0, resetMs: 5000, retryMs: 50 },
    { limit: ip, allowed: false, remaining: 0, resetMs: 20_000, retryMs: 12_001 },
  ]);
  assert.equal(headers["ratelimit"], '"global";r=0;t=1, "ip";r=0;t=13');
  assert.equal(headers["retry-after"], "13");
  assert.equal(headers["x-ratelimit-remaining"], "0");
});

test("where no limit is met there is nothing to tell", () => assert.deepEqual(headersOf([]), {}));
