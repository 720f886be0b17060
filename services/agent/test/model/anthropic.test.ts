import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createProviders } from "../../src/model/providers.ts";
import { stepRequest, takeStep } from "../helpers/steps.ts";

// The events of a streamed message: https://docs.anthropic.com/en/api/messages-streaming
const ANSWER = [
  {
    type: "message_start",
    message: {
      id: "msg_1",
      type: "message",
      role: "assistant",
      model: "claude-test-1",
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { input_tokens: 25, output_tokens: 1 },
    },
  },
  { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
  { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Let me " } },
  { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "look." } },
  { type: "content_block_stop", index: 0 },
  {
    type: "content_block_start",
    index: 1,
    content_block: { type: "tool_use", id: "toolu_1", name: "get_current_time", input: {} },
  },
  { type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: '{"timez' } },
  { type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: 'one":"UTC"}' } },
  { type: "content_block_stop", index: 1 },
  { type: "message_delta", delta: { stop_reason: "tool_use", stop_sequence: null }, usage: { output_tokens: 15 } },
  { type: "message_stop" },
];

test("Anthropic's own wire format: key, conversation, streamed text, tool call, usage", async (t) => {
  let sent: { headers: Record<string, unknown>; url: string; body: Record<string, unknown> } | undefined;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
      sent = { headers: request.headers, url: request.url ?? "", body };
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (const event of ANSWER) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
      response.end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const folder = await mkdtemp(join(tmpdir(), "warren-agent-"));
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true });
  });
  const anthropicKeyFile = join(folder, "key");
  await writeFile(anthropicKeyFile, "sk-ant-canary", { mode: 0o600 });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  const [model] = await createProviders({
    models: [{ kind: "anthropic", model: "claude-test" }],
    anthropicUrl: url,
    anthropicKeyFile,
    openAiUrl: url,
    stallMs: 30_000,
    maxTools: 24,
  });
  assert.ok(model);
  const call = { id: "t_1_1_0", name: "get_current_time", arguments: {} };
  const tool = {
    name: "get_current_time",
    description: "Tells the time.",
    inputSchema: { type: "object", properties: {} },
  };
  const step = await takeStep(
    model,
    stepRequest(
      [
        { role: "user", text: "What time is it?" },
        { role: "assistant", text: "", toolCalls: [call] },
        { role: "tool", callId: call.id, name: call.name, text: "it crashed", failed: true },
        { role: "user", text: "Again, please." },
      ],
      { instructions: "Be kind.", tools: [tool] },
    ),
  );
  assert.deepEqual(step.pieces, ["Let me ", "look."]);
  assert.deepEqual(step.toolCalls, [{ id: "toolu_1", name: "get_current_time", arguments: { timezone: "UTC" } }]);
  assert.deepEqual(step.finish, {
    type: "finish",
    model: "claude-test-1",
    usage: { inputTokens: 25, outputTokens: 15 },
    reason: "tool-calls",
  });
  assert.equal(sent?.url, "/v1/messages");
  assert.equal(sent?.headers["x-api-key"], "sk-ant-canary");
  assert.match(JSON.stringify(sent?.body["system"]), /Be kind/);
  assert.match(JSON.stringify(sent?.body["messages"]), /"tool_use_id":"t_1_1_0".*"is_error":true/);
});
