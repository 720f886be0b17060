import assert from "node:assert/strict";
import { test } from "node:test";
import { type EntryContent } from "../../src/session/log.ts";
import { contextOf } from "../../src/session/context.ts";

let clock = 0;
const entry = (turnId: string, content: EntryContent) => ({
  time: new Date(++clock),
  turnId,
  principal: "p",
  entry: content,
});
const turn = (id: string, user: string, reply: string) => [
  entry(id, { $case: "userMessage", value: { text: user } }),
  entry(id, { $case: "modelStep", value: { step: 1, text: reply, toolCalls: [], usage: undefined } }),
  entry(id, { $case: "turnCompleted", value: { text: reply, usage: undefined } }),
];
const nameOf = (pluginId: string, tool: string) => `${pluginId}__${tool}`;

test("within the budget, everything is sent", () => {
  const messages = contextOf([...turn("1", "aaaa", "bbbb"), ...turn("2", "cccc", "dddd")], nameOf, 16);
  assert.deepEqual(
    messages.map((message) => message.text),
    ["aaaa", "bbbb", "cccc", "dddd"],
  );
});

test("beyond it, whole turns are left out from the oldest on, never the newest", () => {
  const entries = [...turn("1", "aaaa", "bbbb"), ...turn("2", "cccc", "dddd"), ...turn("3", "eeee", "ffff")];
  assert.deepEqual(
    contextOf(entries, nameOf, 20).map((message) => message.text),
    ["cccc", "dddd", "eeee", "ffff"],
  );
  assert.deepEqual(
    contextOf(entries, nameOf, 1).map((message) => message.text),
    ["eeee", "ffff"],
  );
});

test("a turn that failed without a word still has two sides", () => {
  const failed = [
    entry("1", { $case: "userMessage", value: { text: "Hi" } }),
    entry("1", { $case: "turnFailed", value: { reason: "no model" } }),
  ];
  assert.deepEqual(
    contextOf([...failed, entry("2", { $case: "userMessage", value: { text: "Again" } })], nameOf, 100).map(
      (message) => message.role,
    ),
    ["user", "assistant", "user"],
  );
});
