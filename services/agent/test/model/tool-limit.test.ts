import assert from "node:assert/strict";
import { test } from "node:test";
import type { ModelMessage, ModelProvider, ModelTool, StepEvent } from "../../src/model/provider.ts";
import { limitTools } from "../../src/model/tool-limit.ts";
import { manyTools } from "../helpers/many-tools.ts";
import { stepRequest, takeStep } from "../helpers/steps.ts";

const tools = manyTools();

async function offered(messages: readonly ModelMessage[], limit: number): Promise<string[]> {
  let seen: readonly ModelTool[] = [];
  const provider: ModelProvider = {
    name: "spy",
    async *step(request): AsyncGenerator<StepEvent> {
      seen = request.tools;
      yield { type: "finish", model: "spy", usage: { inputTokens: 0, outputTokens: 0 }, reason: "stop" };
    },
  };
  await takeStep(limitTools(provider, limit), stepRequest(messages, { tools }));
  return seen.map((tool) => tool.name);
}

test("few tools are all offered", async () => {
  assert.equal((await offered([{ role: "user", text: "Hi" }], 100)).length, tools.length);
});

test("of many, those are offered that the conversation is about", async () => {
  const names = await offered([{ role: "user", text: "Please list the directory and read a text file in it." }], 6);
  assert.ok(names.length <= 6);
  for (const name of ["list_directory", "read_text_file"])
    assert.ok(names.includes(name), `${name} in ${names.join()}`);
  assert.ok(!names.includes("set_volume"));
});

test("a tool that was called stays offered", async () => {
  const names = await offered(
    [
      { role: "user", text: "Make it louder" },
      { role: "assistant", text: "", toolCalls: [{ id: "1", name: "set_volume", arguments: { level: 80 } }] },
      { role: "tool", callId: "1", name: "set_volume", text: "done", failed: false },
      { role: "user", text: "Now list the directory /srv" },
    ],
    4,
  );
  assert.ok(names.includes("set_volume"));
  assert.ok(names.includes("list_directory"));
  assert.ok(names.length <= 4);
});
