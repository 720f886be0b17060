import assert from "node:assert/strict";
import { test } from "node:test";
import { RpcError, StatusCode } from "@warren/mesh";
import { ToolResult } from "@warren/proto/warren/plugins/v1/plugins";
import { createToolRunner, MAX_RESULT_BYTES, resultText } from "../../src/turn/tools.ts";
import { cancelled, context } from "../helpers/turns.ts";

const call = { id: "c1", pluginId: "clock", name: "now", arguments: { a: 1 }, result: "", error: "", durationMs: 0 };
const options = { ctx: context(), signal: new AbortController().signal, idempotencyKey: "key" };
const answer = (partial: Parameters<typeof ToolResult.fromPartial>[0]) => async () => ToolResult.fromPartial(partial);

test("a call carries its caller, deadline, key and arguments, and comes back with its result", async () => {
  const seen: unknown[] = [];
  const run = createToolRunner(
    {
      callTool: async (request, more) => {
        seen.push(request, more);
        return ToolResult.fromPartial({ content: [{ type: "text", text: "noon" }] });
      },
    },
    30_000,
  );
  const done = await run(call, options);
  assert.deepEqual(seen, [
    { pluginId: "clock", tool: "now", arguments: { a: 1 } },
    {
      deadline: options.ctx.deadline,
      assertion: options.ctx.assertion,
      signal: options.signal,
      idempotencyKey: "key",
      timeoutMs: 30_000,
    },
  ]);
  assert.deepEqual([done.result, done.error, done.id], ["noon", "", "c1"]);
  assert.ok(done.durationMs > 0);
});

test("the tool's own failure, and the mesh's, become the call's error", async () => {
  const own = createToolRunner(
    { callTool: answer({ isError: true, content: [{ type: "text", text: "no such zone" }] }) },
    1_000,
  );
  assert.equal((await own(call, options)).error, "no such zone");
  const silent = createToolRunner({ callTool: answer({ isError: true }) }, 1_000);
  assert.match((await silent(call, options)).error, /without saying why/);
  for (const code of [StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE, StatusCode.NOT_FOUND]) {
    const failing = createToolRunner(
      { callTool: () => Promise.reject(new RpcError(code, "The plugin crashed")) },
      1_000,
    );
    const done = await failing(call, options);
    assert.deepEqual([done.error, done.result], ["The plugin crashed", ""]);
  }
  const bug = createToolRunner({ callTool: () => Promise.reject(new TypeError("secret detail")) }, 1_000);
  assert.doesNotMatch((await bug(call, options)).error, /secret/);
});

test("the end of the turn is no result", async () => {
  const reason = cancelled();
  const run = createToolRunner({ callTool: () => Promise.reject(new RpcError(StatusCode.CANCELLED, "x")) }, 1_000);
  await assert.rejects(run(call, { ...options, signal: AbortSignal.abort(reason) }), reason);
});

test("content is read as text, what is no text is named", () => {
  const text = resultText({
    content: [
      { type: "text", text: "one" },
      { type: "image", mimeType: "image/png", data: "AAAA" },
      { type: "resource", resource: { uri: "file:///a", text: "two" } },
      { type: "resource_link", uri: "file:///b", name: "b" },
      { type: "text", text: 5 },
    ],
    structuredContent: { ignored: true },
  });
  assert.equal(text, "one\n[image image/png]\ntwo\n[resource_link file:///b]");
  assert.equal(resultText({ content: [], structuredContent: { a: 1 } }), '{"a":1}');
  assert.equal(resultText({ content: [], structuredContent: undefined }), "");
});

test("a long result is cut between characters, and says so", () => {
  const text = resultText({ content: [{ type: "text", text: "é€😀".repeat(20_000) }], structuredContent: undefined });
  assert.ok(Buffer.byteLength(text) <= MAX_RESULT_BYTES);
  assert.ok(Buffer.byteLength(text) > MAX_RESULT_BYTES - 8);
  assert.match(text, /shortened from 180000 bytes\)$/);
  assert.doesNotMatch(text, /\uFFFD/);
  const exact = "x".repeat(MAX_RESULT_BYTES);
  assert.equal(resultText({ content: [{ type: "text", text: exact }], structuredContent: undefined }), exact);
});
