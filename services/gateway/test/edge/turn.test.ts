import assert from "node:assert/strict";
import { test } from "node:test";
import { Turn } from "../../src/edge/turn.ts";

test("all of a turn go on together, when what has arrived has been read; those of the next turn after it", async () => {
  const turn = new Turn();
  const order: string[] = [];
  const first = turn.end().then(() => order.push("first"));
  await Promise.resolve();
  order.push("still reading");
  const second = turn.end().then(() => order.push("second"));
  setImmediate(() => order.push("next turn's work"));
  await Promise.all([first, second]);
  assert.deepEqual(order, ["still reading", "first", "second"]);
  await turn.end();
  assert.equal(order.at(-1), "next turn's work");
});
