import assert from "node:assert/strict";
import { test } from "node:test";
import type { Mesh } from "@warren/mesh";
import type { DecisionMade } from "@warren/proto/warren/events/v1/events";
import { type Decision, DecisionTrail } from "../src/decision-trail.ts";

const denial: Decision = {
  principal: "anonymous",
  action: "GET /v1/sessions",
  allowed: false,
  reason: "UNAUTHENTICATED",
  address: "203.0.113.1",
};

function trail() {
  const told: DecisionMade[] = [];
  const publish: Mesh["publish"] = async (_type, event) => void told.push(event as unknown as DecisionMade);
  const made = new DecisionTrail({
    mesh: { publish },
    log: { warn: () => undefined },
    windowMs: 2 ** 30,
  });
  return { made, told };
}

test("the first denial of a kind is told at once, those that follow as one number", async () => {
  const { made, told } = trail();
  for (let i = 0; i < 1000; i++) made.record(denial);
  assert.deepEqual(
    told.map(({ count }) => count),
    [1],
  );
  await made.close();
  assert.deepEqual(
    told.map(({ count, reason, address }) => [count, reason, address]),
    [
      [1, "UNAUTHENTICATED", "203.0.113.1"],
      [999, "UNAUTHENTICATED", "203.0.113.1"],
    ],
  );
});

test("an attack from everywhere cannot fill the audit, and none of its denials goes uncounted", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval", "Date"] });
  const told: DecisionMade[] = [];
  const made = new DecisionTrail({
    mesh: { publish: async (_type, event) => void told.push(event as unknown as DecisionMade) },
    log: { warn: () => undefined },
  });
  let attempts = 0;
  for (let minute = 0; minute < 60; minute++) {
    for (let i = 0; i < 2000; i++, attempts++) made.record({ ...denial, address: `2001:db8:${minute}:${i}::1` });
    t.mock.timers.tick(60_000);
  }
  await made.close();
  assert.ok(told.length <= 256 + 60 + 6 + 1, `${told.length} entries for an hour of attack`);
  assert.equal(
    told.reduce((sum, { count }) => sum + count, 0),
    attempts,
  );
});

test("what administrators do is told one by one", async () => {
  const { made, told } = trail();
  for (let i = 0; i < 600; i++) made.record({ principal: "operator", action: "DELETE /v1/keys/{id}", allowed: true });
  await made.close();
  assert.equal(told.length, 600);
});

test("a mesh that takes nothing breaks nothing, and the log has what was decided", async () => {
  const warnings: object[] = [];
  const made = new DecisionTrail({
    mesh: { publish: () => Promise.reject(new Error("disconnected")) },
    log: { warn: (fields) => void warnings.push(fields) },
  });
  made.record(denial);
  await made.close();
  assert.partialDeepStrictEqual(warnings, [{ reason: "UNAUTHENTICATED", count: 1 }]);
});
