import assert from "node:assert/strict";
import { test } from "node:test";
import type { Caller, CallerAssertion } from "@warren/mesh";
import { Assertions } from "../../src/identity/assertions.ts";

const device = { principal: "device:d", tenant: "t", device: "d", scopes: ["chat"], expiresAt: 1000 };

test("an assertion is made once for the same caller, and anew well before it ends", () => {
  const made: Caller[] = [];
  let now = 0;
  const assertions = new Assertions(
    (caller) => `${made.push(caller)}` as CallerAssertion,
    () => now,
  );
  const first = assertions.of(device, "192.0.2.1");
  assert.equal(assertions.of({ ...device }, "192.0.2.1"), first);
  assert.deepEqual(made, [
    { principal: "device:d", tenant: "t", device: "d", scopes: ["chat"], address: "192.0.2.1", expiresAt: 600_000 },
  ]);
  now = 299_000;
  assert.equal(assertions.of(device, "192.0.2.1"), first);
  now = 300_001;
  assert.notEqual(assertions.of(device, "192.0.2.1"), first);
});

test("callers who differ in anything have different assertions", () => {
  const made: Caller[] = [];
  const assertions = new Assertions((caller) => `${made.push(caller)}` as CallerAssertion);
  const all = [
    assertions.of(device, "192.0.2.1"),
    assertions.of(device, "192.0.2.2"),
    assertions.of({ ...device, scopes: ["chat", "plugins:read"] }, "192.0.2.1"),
    assertions.of({ ...device, scopes: ["chat plugins:read"] }, "192.0.2.1"),
    assertions.of({ ...device, principal: "device:e" }, "192.0.2.1"),
    assertions.of({ ...device, tenant: "u" }, "192.0.2.1"),
    assertions.of(undefined, "192.0.2.1"),
  ];
  assert.equal(new Set(all).size, all.length);
  assert.partialDeepStrictEqual(made.at(-1), { principal: "anonymous", scopes: [], address: "192.0.2.1" });
});
