import assert from "node:assert/strict";
import { test } from "node:test";
import { createOfflineModel } from "../../../src/model/offline/offline.ts";
import { manyTools } from "../../helpers/many-tools.ts";
import { converse, stepRequest, takeStep } from "../../helpers/steps.ts";

const model = createOfflineModel();

test("it greets and says what it is", async () => {
  const [hello, who] = await converse(model, ["Hello!", "Who are you?"], manyTools());
  assert.match(hello?.text ?? "", /^Hello/);
  assert.match(who?.text ?? "", /offline model/);
  assert.deepEqual([hello?.toolCalls, who?.toolCalls], [[], []]);
});

test("it streams word by word, and ends with usage", async () => {
  const [step] = await converse(model, ["Hello!"]);
  assert.ok((step?.pieces.length ?? 0) > 3);
  assert.ok(step?.pieces.every((piece) => /^\S+\s*$/.test(piece)));
  assert.equal(step?.finish?.model, "offline");
  assert.equal(step?.finish?.usage.inputTokens, 1);
  assert.equal(step?.finish?.usage.outputTokens, 12);
});

test("it remembers a name over other talk", async () => {
  const steps = await converse(
    model,
    ["My name is Alice.", "What time is it?", "Thanks!", "What's my name?"],
    manyTools(),
  );
  assert.match(steps.at(-1)?.text ?? "", /Alice/);
  assert.equal(steps[1]?.toolCalls[0]?.name, "get_current_time");
});

test("the same conversation gets the same reply", async () => {
  const said = ["I live in Rome.", "Tell me something.", "What time is it in Rome?"];
  assert.deepEqual(await converse(model, said, manyTools()), await converse(model, said, manyTools()));
});

test("one message may ask for several tools", async () => {
  const [step] = await converse(
    model,
    ["Hello! What time is it? Reverse the text 'a. b?' and then add 1 and 2."],
    manyTools(),
  );
  assert.deepEqual(
    step?.toolCalls.map((call) => [call.name, call.arguments]),
    [
      ["get_current_time", {}],
      ["reverse_text", { text: "a. b?" }],
      ["get-sum", { a: 1, b: 2 }],
    ],
  );
  assert.equal(new Set(step?.toolCalls.map((call) => call.id)).size, 3);
});

test("a tool's result is told in a sentence, its failure as a failure", async () => {
  const call = { id: "c1", name: "get_current_time", arguments: {} };
  const after = (text: string, failed: boolean) =>
    takeStep(
      model,
      stepRequest([
        { role: "user", text: "What time is it?" },
        { role: "assistant", text: "", toolCalls: [call] },
        { role: "tool", callId: "c1", name: call.name, text, failed },
      ]),
    );
  assert.equal((await after("12:00", false)).text, "get_current_time says: 12:00");
  assert.match((await after("the plugin crashed", true)).text, /get_current_time failed: the plugin crashed/);
  assert.match((await after("x".repeat(10_000), false)).text, /shortened/);
});

test("it asks for what a tool still needs instead of calling it", async () => {
  const [step] = await converse(model, ["Reverse the text"], manyTools());
  assert.deepEqual(step?.toolCalls, []);
  assert.match(step?.text ?? "", /reverse_text.*text/);
});

test("it calls nothing when tools may not be used, and admits what it cannot do", async () => {
  const step = await takeStep(
    model,
    stepRequest([{ role: "user", text: "What time is it?" }], { tools: manyTools(), toolUse: "none" }),
  );
  assert.deepEqual(step.toolCalls, []);
  const [joke, without] = [
    (await converse(model, ["Tell me a joke."], manyTools()))[0],
    (await converse(model, ["What time is it?"]))[0],
  ];
  assert.match(joke?.text ?? "", /no answer/);
  assert.match(without?.text ?? "", /no answer/);
});

test("it lists its tools when asked", async () => {
  const [step] = await converse(model, ["What can you do?"], manyTools());
  assert.match(step?.text ?? "", /get_current_time.*and \d+ more/);
});

test("an aborted step throws the signal's reason", async () => {
  const reason = new Error("enough");
  await assert.rejects(
    takeStep(model, stepRequest([{ role: "user", text: "Hello!" }], { signal: AbortSignal.abort(reason) })),
    reason,
  );
});

test("hostile messages neither hang nor throw", { timeout: 10_000 }, async () => {
  for (const text of [
    "'".repeat(60_000),
    "{".repeat(60_000),
    "a/".repeat(30_000),
    "my ".repeat(20_000),
    `${"a ".repeat(30_000)}?`,
    "{}".repeat(30_000),
    '"\\u0000',
    "1.".repeat(30_000),
    "i like ".repeat(9_000),
    "then ".repeat(12_000),
  ]) {
    const [step] = await converse(model, [text], manyTools());
    assert.ok(step?.finish, text.slice(0, 20));
  }
});
