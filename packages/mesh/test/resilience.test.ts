import assert from "node:assert/strict";
import test from "node:test";
import { methodContract } from "@warren/contract";
import { RpcError, StatusCode } from "@warren/mesh";
import * as fc from "fast-check";
import { mayRetry, neverRan, RetryBudget, retryDelayMs } from "../src/resilience.ts";

fc.configureGlobal({ seed: 20_260_109 });

const read = methodContract("warren.secrets.v1.SecretsService", "GetSecret");
const write = methodContract("warren.secrets.v1.SecretsService", "PutSecret");
const failed = (reason: string, code: StatusCode = StatusCode.UNAVAILABLE): RpcError =>
  new RpcError(code, "", { reason });

test("the budget allows a tenth of the calls as retries, beside what it began with", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 3000, size: "max" }), (steps) => {
      const budget = new RetryBudget(0.1, 10);
      let calls = 0;
      let retries = 0;
      for (const call of steps) {
        if (call) {
          budget.deposit();
          calls += 1;
        } else if (budget.withdraw()) retries += 1;
        assert.ok(retries <= 10 + calls * 0.1 + 1e-6);
      }
    }),
    { numRuns: 100 },
  );
});

test("an unused budget does not grow without end", () => {
  const budget = new RetryBudget(0.1, 10);
  for (let i = 0; i < 10_000; i++) budget.deposit();
  const granted = Array.from({ length: 50 }, () => budget.withdraw()).filter(Boolean).length;
  assert.equal(granted, 10);
});

test("a call that reached no handler may be made again, whatever its method; six times at most", () => {
  for (const reason of ["NO_RESPONDERS", "DRAINING"]) {
    assert.ok(neverRan(failed(reason)));
    for (const method of [read, write]) {
      for (const attempt of [1, 2, 3, 4, 5]) assert.ok(mayRetry(method, failed(reason), attempt));
      assert.ok(!mayRetry(method, failed(reason), 6));
    }
  }
});

test("a call whose outcome is not known is made again only where the contract calls it idempotent", () => {
  assert.ok(mayRetry(read, failed("DISCONNECTED"), 3));
  assert.ok(!mayRetry(read, failed("DISCONNECTED"), 4));
  assert.ok(!mayRetry(write, failed("DISCONNECTED"), 1));
  for (const method of [read, write]) assert.ok(!mayRetry(method, failed("CALL_LOST"), 1));
});

test("what a service answered is never asked again, nor what ran out of time", () => {
  for (const code of Object.values(StatusCode)) {
    if (code === StatusCode.UNAVAILABLE) continue;
    assert.ok(!mayRetry(read, failed("NO_RESPONDERS", code), 1), String(code));
  }
  assert.ok(!mayRetry(read, failed("MODEL_DOWN"), 1));
});

test("waits are random within a bound that doubles up to a second", () => {
  assert.equal(
    retryDelayMs(1, () => 1),
    80,
  );
  assert.equal(
    retryDelayMs(3, () => 1),
    320,
  );
  assert.equal(
    retryDelayMs(10, () => 1),
    1000,
  );
  assert.equal(
    retryDelayMs(3, () => 0),
    0,
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), (attempt) => {
      const delay = retryDelayMs(attempt);
      assert.ok(delay >= 0 && delay <= 1000);
    }),
  );
});
