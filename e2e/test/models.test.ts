import assert from "node:assert/strict";
import test from "node:test";
import { startStack } from "@warren/testing";
import { startOpenAiServer } from "../../services/agent/test/helpers/openai-server.ts";

test("with a server that speaks OpenAI's wire format", async (t) => {
  const server = await startOpenAiServer({
    script: ({ body }) => {
      const last = body.messages.at(-1);
      if (last?.role === "tool")
        return { text: `The tool said: ${JSON.stringify(last.content)}`, usage: { input: 20, output: 10 } };
      if (/time/.test(JSON.stringify(last?.content)))
        return {
          toolCalls: [{ name: "get_current_time", arguments: { timezone: "Europe/Berlin" } }],
          usage: { input: 10, output: 5 },
        };
      const said = body.messages.filter(({ role }) => role === "user").map(({ content }) => JSON.stringify(content));
      return { text: `You said ${said.length} things: ${said.join(", ")}`, usage: { input: 7, output: 3 } };
    },
  });
  t.after(() => server.close());
  const stack = await startStack(t, {
    env: { WARREN_MODELS: "openai-compatible:test-model,offline", WARREN_OPENAI_COMPATIBLE_URL: server.url },
  });
  const chat = (body: object, accept = "application/json") =>
    stack.request("POST", "/v1/chat", { body, headers: { accept } });

  await t.test("the same loop answers, streaming from the model, and keeps to the conversation", async () => {
    const first = await chat({ message: "My name is Alice." });
    assert.equal(first.status, 200, first.text);
    const second = await chat({ message: "What's my name?", sessionId: String(first.json["sessionId"]) });
    assert.match(String(second.json["message"]), /You said 2 things: .*Alice/);
    assert.equal(second.json["usage"]?.["inputTokens"], 7);
    assert.equal(String(second.json["usage"]?.["model"]), "test-model");
    assert.ok(server.requests.every(({ body }) => body.stream === true && body.model === "test-model"));
  });
  await t.test("a tool that the model asks for runs in its sandbox, and the model gets its answer", async () => {
    const { json, text } = await chat({ message: "What time is it in Berlin?" });
    assert.equal(String(json["toolCalls"]?.[0]?.["name"]), "get_current_time", text);
    assert.match(String(json["toolCalls"]?.[0]?.["result"]), /Europe\/Berlin/);
    assert.match(String(json["message"]), /The tool said: .*Europe\/Berlin/);
    assert.equal(json["usage"]?.["totalTokens"], 45);
    assert.equal(json["usage"]?.["steps"], 2);
  });
  await t.test("and the same as events", async () => {
    const { text } = await chat({ message: "What time is it?" }, "text/event-stream");
    assert.match(text, /event: completed\n/);
    assert.match(text, /get_current_time/);
  });
});
