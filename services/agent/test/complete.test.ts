import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { StatusCode } from "@warren/mesh";
import {
  type CompleteEvent,
  type CompleteRequest,
  FinishReason,
  Role,
  ToolChoice,
} from "@warren/proto/warren/agent/v1/agent";
import { createOfflineModel } from "../src/model/offline/offline.ts";
import { createProviders } from "../src/model/providers.ts";
import { startAgent, until } from "./helpers/agent.ts";
import { type Script, startOpenAiServer } from "./helpers/openai-server.ts";

const weather = {
  name: "get_weather",
  description: "Tells the weather of a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const user = (text: string) => ({ role: Role.USER, text });
const call = (id: string) => ({ id, name: "get_weather", arguments: { city: "Rome" } });

async function all(stream: AsyncIterable<CompleteEvent>) {
  const events: CompleteEvent[] = [];
  for await (const event of stream) events.push(event);
  const texts = events.flatMap(({ event }) => (event?.$case === "text" ? [event.value.text] : []));
  const calls = events.flatMap(({ event }) => (event?.$case === "call" ? [event.value] : []));
  const last = events.at(-1)?.event;
  assert.ok(last?.$case === "finished", "the last event is the end");
  return { texts, text: texts.join(""), calls, ...last.value };
}

type Ask = Partial<Omit<CompleteRequest, "messages" | "tools">> & { messages: object[]; tools?: object[] };

async function startWith(t: TestContext, script?: Script) {
  const server = script && (await startOpenAiServer({ script }));
  if (server) t.after(() => server.close());
  const remote = server
    ? await createProviders({
        models: [{ kind: "openai-compatible", model: "llama3" }],
        openAiCompatibleUrl: server.url,
        openAiUrl: server.url,
        anthropicUrl: server.url,
        stallMs: 30_000,
        maxTools: 2,
      })
    : [];
  const agent = await startAgent(t, { models: [createOfflineModel(), ...remote] });
  const caller = agent.as("device:alice", ["chat"]);
  const ask = (request: Ask) => all(caller.complete(request as CompleteRequest));
  return { agent, caller, ask, server };
}

test("a caller's own conversation gets an answer in pieces, and its end says why and for how much", async (t) => {
  const { ask, agent, caller } = await startWith(t);
  const messages = [
    { role: Role.SYSTEM, text: "Be brief." },
    user("My name is Alice."),
    { role: Role.ASSISTANT, text: "Nice to meet you." },
    user("What's my name?"),
  ];
  const answer = await ask({ messages });
  assert.equal(answer.text, "Your name is Alice.");
  assert.ok(answer.texts.length > 2, "in pieces");
  assert.equal(answer.reason, FinishReason.STOP);
  assert.equal(answer.usage?.model, "offline");
  assert.equal(answer.usage?.totalTokens, answer.usage.inputTokens + answer.usage.outputTokens);
  assert.deepEqual((await caller.listModels({})).models, [
    { id: "warren", owner: "warren" },
    { id: "offline", owner: "warren" },
  ]);
  assert.deepEqual(
    (await agent.as("device:alice", ["sessions:read"]).listSessions({})).sessions,
    [],
    "nothing is kept",
  );
});

test("calls of the caller's tools come back to it and nothing runs; plugins' tools are not among them", async (t) => {
  const { ask, agent } = await startWith(t);
  await agent.plugins.run("weather", {
    get_weather: { about: { description: "Tells the weather.", inputSchema: {} }, does: () => "never" },
    get_current_time: { about: { description: "Tells the time.", inputSchema: {} }, does: () => "never" },
  });
  const messages = [user("What is the weather in the city 'Rome'?")];
  const asked = await ask({ messages, tools: [weather] });
  assert.deepEqual(
    asked.calls.map((each) => [each.name, each.arguments]),
    [["get_weather", { city: "Rome" }]],
  );
  assert.equal(asked.reason, FinishReason.TOOL_CALLS);
  assert.match(asked.calls[0]?.id ?? "", /^call_.{16}$/);
  const again = await ask({ messages, tools: [weather] });
  assert.notEqual(again.calls[0]?.id, asked.calls[0]?.id, "an id names one call alone");
  const told = await ask({
    messages: [
      ...messages,
      { role: Role.ASSISTANT, toolCalls: asked.calls },
      { role: Role.TOOL, toolCallId: asked.calls[0]?.id, text: "21 degrees" },
    ],
    tools: [weather],
  });
  assert.equal(told.text, "get_weather says: 21 degrees");
  assert.deepEqual((await ask({ messages: [user("What time is it?")], tools: [weather] })).calls, []);
  assert.deepEqual(agent.plugins.calls, []);
});

test("the caller says whether tools are called, how many, and which", async (t) => {
  const { ask } = await startWith(t);
  const time = { name: "get_time", description: "Tells the time.", parameters: {} };
  const tools = [weather, time];
  const both = [user("What time is it? What is the weather in the city 'Rome'?")];
  const names = async (more: Partial<Ask>) =>
    (await ask({ messages: both, tools, ...more })).calls.map((each) => each.name);
  assert.deepEqual(await names({}), ["get_time", "get_weather"]);
  assert.deepEqual(await names({ singleCall: true }), ["get_time"]);
  assert.deepEqual(await names({ toolChoice: ToolChoice.NONE }), []);
  const hello = [user("Hello")];
  assert.deepEqual(await names({ messages: hello, toolChoice: ToolChoice.FUNCTION, toolName: "get_time" }), [
    "get_time",
  ]);
  assert.deepEqual(await names({ messages: hello, toolChoice: ToolChoice.REQUIRED, tools: [time] }), ["get_time"]);
  await assert.rejects(names({ messages: hello, toolChoice: ToolChoice.REQUIRED }), {
    code: StatusCode.FAILED_PRECONDITION,
    message: /no tool that fits/,
  });
});

test("an answer ends at the most tokens, and before a stop sequence", async (t) => {
  const { ask } = await startWith(t);
  const messages = [user("Hello!")];
  const { text } = await ask({ messages });
  const short = await ask({ messages, maxOutputTokens: 3 });
  assert.equal(short.reason, FinishReason.LENGTH);
  assert.equal(short.usage?.outputTokens, 3);
  assert.ok(text.startsWith(short.text) && short.text !== "");
  const stopped = await ask({ messages, stop: ["nowhere", " model"] });
  assert.equal(stopped.text, text.slice(0, text.indexOf(" model")));
  assert.equal(stopped.reason, FinishReason.STOP);
});

test("what is no conversation is refused, and says where", async (t) => {
  const { ask } = await startWith(t);
  const said = { role: Role.ASSISTANT, toolCalls: [call("a"), call("b")] };
  const answered = (toolCallId: string) => ({ role: Role.TOOL, toolCallId, text: "x" });
  const refused = (request: Ask, field: RegExp) =>
    assert.rejects(ask(request), (error: { code: number; message: string }) => {
      assert.equal(error.code, StatusCode.INVALID_ARGUMENT);
      assert.match(error.message, field);
      return true;
    });
  await refused({ messages: [] }, /messages/);
  await refused({ messages: [{ text: "who?" }] }, /messages\[0\]\.role/);
  await refused({ messages: [user("a"), answered("z")] }, /messages\[1\]\.toolCallId/);
  await refused({ messages: [user("a"), said, answered("a"), user("b")] }, /messages\[1\]\.toolCalls/);
  await refused({ messages: [user("a"), said, answered("a")] }, /messages\[1\]\.toolCalls/);
  await refused({ messages: [user("a"), said, answered("a"), answered("a")] }, /messages\[3\]\.toolCallId/);
  await refused({ messages: [{ ...user("a"), toolCalls: [call("a")] }] }, /messages\[0\]\.toolCalls/);
  await refused({ messages: [user("a")], tools: [weather, weather] }, /tools/);
  await refused({ messages: [user("a")], tools: [{ name: "bad name" }] }, /tools\[0\]\.name/);
  await refused({ messages: [user("a")], toolChoice: ToolChoice.REQUIRED }, /toolChoice/);
  await refused({ messages: [user("a")], toolChoice: ToolChoice.FUNCTION, toolName: "x" }, /toolChoice/);
  await refused({ messages: [user("a")], temperature: 7 }, /temperature/);
  await assert.rejects(ask({ messages: [user("a")], model: "gpt-none" }), { code: StatusCode.NOT_FOUND });
});

test("a model asked for by name gets everything the caller said, and every tool however many", async (t) => {
  const { ask, server } = await startWith(t, [{ toolCalls: [{ name: "tool_7", arguments: { city: "Rome" } }] }]);
  const tools = Array.from({ length: 30 }, (_, i) => ({ ...weather, name: `tool_${i}` }));
  const answer = await ask({
    model: "openai-compatible:llama3",
    messages: [user("a"), { role: Role.SYSTEM, text: "Late word." }],
    tools,
    toolChoice: ToolChoice.FUNCTION,
    toolName: "tool_7",
    maxOutputTokens: 50,
    stop: ["END"],
    temperature: 0,
    topP: 0.5,
    presencePenalty: 1,
    frequencyPenalty: -1,
    seed: 7,
    json: true,
    jsonSchema: { type: "object", properties: { ok: { type: "boolean" } } },
  });
  assert.deepEqual(answer.calls[0]?.arguments, { city: "Rome" });
  assert.equal(answer.usage?.model, "llama3");
  assert.deepEqual([answer.usage?.inputTokens, answer.usage?.outputTokens], [11, 7]);
  const body = server?.requests[0]?.body as unknown as Record<string, unknown>;
  assert.equal((body["tools"] as unknown[]).length, 30);
  assert.deepEqual(body["tool_choice"], { type: "function", function: { name: "tool_7" } });
  assert.deepEqual(body["messages"], [
    { role: "system", content: "Late word." },
    { role: "user", content: "a" },
  ]);
  for (const [name, value] of Object.entries({
    max_tokens: 50,
    temperature: 0,
    top_p: 0.5,
    presence_penalty: 1,
    frequency_penalty: -1,
    seed: 7,
  }))
    assert.equal(body[name], value, name);
  assert.deepEqual(body["stop"], ["END"]);
  assert.ok(body["response_format"]);
});

test("an answer that was to be JSON and is none is the caller's to judge", async (t) => {
  const { ask } = await startWith(t, [{ text: "not at all" }]);
  const answer = await ask({ model: "openai-compatible:llama3", messages: [user("a")], json: true });
  assert.equal(answer.text, "not at all");
  await assert.rejects(ask({ messages: [user("a")], json: true }), { code: StatusCode.FAILED_PRECONDITION });
});

test("a caller who leaves ends the step at the model", async (t) => {
  const { caller, server, agent } = await startWith(t, [{ fault: "stall", text: "Once upon" }]);
  const stop = new AbortController();
  const stream = caller.complete({ model: "openai-compatible:llama3", messages: [user("a")] }, { signal: stop.signal });
  await assert.rejects(async () => {
    for await (const { event } of stream) {
      assert.equal(event?.$case, "text");
      stop.abort();
    }
  });
  await server?.cancelled;
  await until("nothing in flight", () => agent.mesh.load.calls === 0);
});

test("a call that the model spoiled is told as a failure of the model", async (t) => {
  const { ask } = await startWith(t, [{ toolCalls: [{ name: "other", arguments: {} }] }]);
  const request = { model: "openai-compatible:llama3", messages: [user("a")], tools: [weather] };
  await assert.rejects(ask(request), { code: StatusCode.UNAVAILABLE });
});
