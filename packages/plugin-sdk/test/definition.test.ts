import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { definePlugin, HostError, type PluginDefinition, type PluginIo, schemaProblems } from "../src/index.ts";

function quietIo(): PluginIo {
  return {
    input: new PassThrough(),
    output: new PassThrough(),
    log: () => undefined,
    connectHost: () => {
      throw new HostError("UNAVAILABLE", "none");
    },
    opensHostChannel: false,
    exit: () => undefined,
    onTerminate: () => undefined,
  };
}

const tool = { description: "Does it.", inputSchema: { type: "object" }, run: () => "done" };

test("a badly described tool is refused at once, by its name", () => {
  const cases: [PluginDefinition["tools"], RegExp][] = [
    [{ "a b": tool }, /tool "a b": a name is/],
    [{ ["x".repeat(129)]: tool }, /a name is/],
    [{ t: { ...tool, description: " " } }, /tool t: it needs a description/],
    [{ t: { ...tool, inputSchema: { type: "string" } } }, /tool t: inputSchema must have type "object"/],
    [{ t: { ...tool, inputSchema: {} } }, /tool t: inputSchema must have type "object"/],
  ];
  for (const [tools, message] of cases) {
    assert.throws(() => definePlugin({ tools }, quietIo()), message);
  }
});

test("a channel that the host promised and is not there ends the plugin at once", () => {
  assert.throws(() => definePlugin({ tools: { t: tool } }, { ...quietIo(), opensHostChannel: true }), HostError);
});

test("while the host does not read its answers, the plugin does not read its calls", async () => {
  const io = quietIo();
  let calls = 0;
  definePlugin({ tools: { t: { ...tool, run: () => `${++calls} ${"x".repeat(1000)}` } } }, io);
  const input = io.input as PassThrough;
  for (let id = 0; id < 500; id++) {
    input.write(`${JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params: { name: "t" } })}\n`);
    await new Promise(setImmediate);
  }
  assert.ok(calls < 250, `${calls} calls were made`);
  const output = io.output as PassThrough;
  let text = "";
  output.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  while (text.split("\n").length < 501) await new Promise(setImmediate);
  assert.equal(calls, 500);
});

test("a schema speaks of nested fields by their path", () => {
  const schema = {
    type: "object",
    properties: { list: { type: "array", minItems: 1, items: { type: "object", required: ["id"] } } },
    additionalProperties: { type: "number" },
  };
  assert.deepEqual(schemaProblems(schema, { list: [{ id: 1 }, {}], other: 3 }), ["list[1].id is required"]);
  assert.deepEqual(schemaProblems(schema, { list: [] }), ["list must have at least 1 items"]);
  assert.deepEqual(schemaProblems(schema, { x: "1" }), ["x must be a number"]);
  assert.deepEqual(schemaProblems(schema, []), ["the arguments must be an object"]);
});
