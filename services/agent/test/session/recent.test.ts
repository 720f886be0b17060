import assert from "node:assert/strict";
import { test } from "node:test";
import { createRecent } from "../../src/session/recent.ts";

test("the longest unused is given up once the budget is outgrown", () => {
  const recent = createRecent<string>(10);
  recent.keep("a", "A", 4);
  recent.keep("b", "B", 4);
  recent.keep("a", "A2", 5);
  assert.deepEqual([recent.get("a"), recent.get("b")], ["A2", "B"]);
  recent.keep("c", "C", 2);
  assert.deepEqual([recent.get("a"), recent.get("b"), recent.get("c")], ["A2", undefined, "C"]);
  recent.keep("d", "D", 11);
  assert.deepEqual([recent.get("a"), recent.get("c"), recent.get("d")], [undefined, undefined, undefined]);
});

test("what is forgotten makes room", () => {
  const recent = createRecent<string>(10);
  recent.keep("a", "A", 6);
  recent.forget("a");
  recent.keep("b", "B", 6);
  recent.keep("c", "C", 4);
  assert.deepEqual([recent.get("a"), recent.get("b"), recent.get("c")], [undefined, "B", "C"]);
});
