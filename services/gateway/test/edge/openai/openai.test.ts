import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { RpcError, StatusCode } from "@warren/mesh";
import { type CompleteEvent, type CompleteRequest, FinishReason, Role } from "@warren/proto/warren/agent/v1/agent";
import { parsePolicy } from "../../../src/limits/policy.ts";
import { addCredential, startGateway, type TestOptions } from "../../support.ts";

const usage = { inputTokens: 3, outputTokens: 2, totalTokens: 5, model: "m1", steps: 1 };
const finished: CompleteEvent = { event: { $case: "finished", value: { reason: FinishReason.STOP, usage } } };
const said = (text: string): CompleteEvent => ({ event: { $case: "text", value: { text } } });

interface Script {
  readonly events?: readonly CompleteEvent[];
  readonly failure?: RpcError;
}

/** A gateway before an agent that answers as the script says, and what it was asked. */
async function start(
  t: TestContext,
  { events = [said("Hi."), finished], failure }: Script = {},
  more: TestOptions = {},
) {
  const asked: CompleteRequest[] = [];
  const gateway = await startGateway(t, {
    handlers: {
      agent: {
        async *complete(request) {
          asked.push(request);
          yield* events;
          if (failure) throw failure;
        },
        listModels: () => Promise.resolve({ models: [{ id: "compatible:org/llama", owner: "org" }] }),
      },
    },
    ...more,
  });
  const chat = (body: object, headers: Record<string, string> = {}) =>
    gateway.call("POST", "/v1/chat/completions", { body, headers });
  const responses = (body: object) => gateway.call("POST", "/v1/responses", { body });
  return { ...gateway, asked, chat, responses };
}

const hello = { model: "m", messages: [{ role: "user", content: "Hi" }] };
const errorOf = (answer: { json: Record<string, unknown> }) =>
  answer.json["error"] as { message: string; type: string; param: string | null; code: string };

test("a request reaches the agent whole, under the names of its contract", async (t) => {
  const { chat, asked } = await start(t);
  const parameters = { type: "object", properties: { city: { type: "string" } } };
  const answer = await chat({
    model: "m",
    messages: [
      { role: "system", content: "One." },
      {
        role: "developer",
        content: [
          { type: "text", text: "Two" },
          { type: "text", text: "." },
        ],
      },
      { role: "user", name: "Ann", content: "Hi" },
      {
        role: "assistant",
        content: null,
        refusal: null,
        audio: null,
        tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: '{"city":"Rome"}' } }],
      },
      { role: "tool", tool_call_id: "c1", content: "21" },
    ],
    tools: [{ type: "function", function: { name: "f", description: "F.", parameters, strict: true } }],
    tool_choice: { type: "function", function: { name: "f" } },
    parallel_tool_calls: false,
    max_tokens: 9,
    max_completion_tokens: 8,
    stop: ["a", "b"],
    temperature: 0,
    top_p: 0.5,
    presence_penalty: 0.1,
    frequency_penalty: -0.1,
    seed: -3,
    response_format: { type: "json_schema", json_schema: { name: "x", schema: parameters } },
    user: "u",
    store: true,
    reasoning_effort: "low",
    logit_bias: {},
    stream_options: null,
  });
  assert.equal(answer.status, 200, answer.text);
  const [request] = asked;
  assert.deepEqual(
    request?.messages.map(({ role, text, toolCallId, toolCalls }) => [role, text, toolCallId, toolCalls]),
    [
      [Role.SYSTEM, "One.", "", []],
      [Role.SYSTEM, "Two.", "", []],
      [Role.USER, "Hi", "", []],
      [Role.ASSISTANT, "", "", [{ id: "c1", name: "f", arguments: { city: "Rome" } }]],
      [Role.TOOL, "21", "c1", []],
    ],
  );
  assert.deepEqual(request?.tools, [{ name: "f", description: "F.", parameters }]);
  assert.deepEqual(
    [request?.toolName, request?.singleCall, request?.maxOutputTokens, request?.stop, request?.temperature],
    ["f", true, 8, ["a", "b"], 0],
  );
  assert.deepEqual([request?.topP, request?.seed, request?.json, request?.jsonSchema], [0.5, -3, true, parameters]);
});

test("a responses request reaches the agent the same way, its calls with what was said before them", async (t) => {
  const { responses, asked } = await start(t);
  const call = (id: string) => ({ type: "function_call", call_id: id, name: "f", arguments: "{}" });
  const answer = await responses({
    model: "m",
    instructions: "Be brief.",
    input: [
      { role: "user", content: [{ type: "input_text", text: "Hi" }] },
      { type: "reasoning", id: "rs_1", summary: [] },
      { type: "message", role: "assistant", content: [{ type: "output_text", text: "Let me see.", annotations: [] }] },
      call("a"),
      call("b"),
      { type: "function_call_output", call_id: "a", output: "1" },
      { type: "function_call_output", call_id: "b", output: [{ type: "input_text", text: "2" }] },
      call("c"),
      { type: "function_call_output", call_id: "c", output: "" },
    ],
    tools: [{ type: "function", name: "f", parameters: null, strict: true }],
    include: ["reasoning.encrypted_content"],
    metadata: { a: "b" },
  });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(
    asked[0]?.messages.map(({ role, text, toolCalls, toolCallId }) => [
      role,
      text || toolCallId,
      toolCalls.map((each) => each.id),
    ]),
    [
      [Role.SYSTEM, "Be brief.", []],
      [Role.USER, "Hi", []],
      [Role.ASSISTANT, "Let me see.", ["a", "b"]],
      [Role.TOOL, "1", []],
      [Role.TOOL, "2", []],
      [Role.ASSISTANT, "", ["c"]],
      [Role.TOOL, "c", []],
    ],
  );
  assert.deepEqual(answer.json["metadata"], { a: "b" });
  assert.equal(answer.json["store"], false);
});

test("errors have OpenAI's form and the status that clients expect", async (t) => {
  const { chat, responses, call, auth } = await start(t);
  const refused = async (body: object, param: string | null, message: RegExp) => {
    const answer = await chat({ ...hello, ...body });
    assert.equal(answer.status, 400, answer.text);
    assert.match(answer.headers.get("content-type") ?? "", /^application\/json/);
    const error = errorOf(answer);
    assert.deepEqual([error.param, error.type, error.code], [param, "invalid_request_error", "invalid_value"]);
    assert.match(error.message, message);
  };
  await refused({ model: "" }, "model", /./);
  await refused({ messages: [] }, "messages", /./);
  await refused({ messages: "Hi" }, "messages", /array/);
  await refused({ messages: [{ role: "boss", content: "x" }] }, "messages[0].role", /system, developer, user/);
  const image = { type: "image_url", image_url: { url: "data:," } };
  await refused({ messages: [{ role: "user", content: [image] }] }, "messages[0].content", /images/);
  const broken = { id: "a", type: "function", function: { name: "f", arguments: "[1]" } };
  await refused(
    { messages: [{ role: "assistant", tool_calls: [broken] }] },
    "messages[0].tool_calls[0].function.arguments",
    /JSON object/,
  );
  const polluting = { ...broken, function: { name: "f", arguments: '{"__proto__":{"a":1}}' } };
  await refused(
    { messages: [{ role: "assistant", tool_calls: [polluting] }] },
    "messages[0].tool_calls[0].function.arguments",
    /JSON object/,
  );
  await refused({ n: 2 }, "n", /one answer/);
  await refused({ logprobs: true }, "logprobs", /probabilities/);
  await refused({ functions: [] }, "functions", /deprecated/);
  await refused({ stop: ["a", "b", "c", "d", "e"] }, "stop", /4/);
  await refused({ max_tokens: 0 }, "max_tokens", /./);
  await refused({ temperature: "hot" }, "temperature", /number/);
  await refused({ tools: [{ type: "web_search" }] }, "tools[0].type", /function/);
  await refused({ frobnicate: 1 }, "frobnicate", /not known/);
  // What only the contract knows comes back under the request's own name.
  await refused({ temperature: 3 }, "temperature", /at most 2/);
  await refused(
    { messages: [{ role: "tool", content: "", tool_call_id: "x".repeat(200) }] },
    "messages[0].tool_call_id",
    /128/,
  );

  for (const [body, param] of [
    [{ previous_response_id: "resp_1" }, "previous_response_id"],
    [{ conversation: "conv_1" }, "conversation"],
    [{ background: true }, "background"],
    [{ tools: [{ type: "web_search_preview" }] }, "tools[0].type"],
    [{ input: [{ type: "item_reference", id: "x" }] }, "input[0].type"],
  ] as const) {
    const answer = await responses({ model: "m", input: "Hi", ...body });
    assert.equal(answer.status, 400, answer.text);
    assert.equal(errorOf(answer).param, param);
  }

  const anonymous = await call("POST", "/v1/chat/completions", { body: hello, anonymous: true });
  assert.deepEqual([anonymous.status, errorOf(anonymous).code], [401, "invalid_api_key"]);
  assert.match(anonymous.headers.get("www-authenticate") ?? "", /^Bearer/);
  const poor = await addCredential(auth, { scopes: ["plugins:read"] });
  const forbidden = await call("GET", "/v1/models", { headers: { authorization: `Bearer ${poor}` } });
  assert.deepEqual([forbidden.status, errorOf(forbidden).code], [403, "insufficient_permissions"]);
  const broke = await call("POST", "/v1/chat/completions", {
    body: Buffer.from("{"),
    headers: { "content-type": "application/json" },
  });
  assert.deepEqual([broke.status, errorOf(broke).code], [400, "invalid_json"]);
  const large = await chat({ ...hello, user: "x".repeat(1_100_000) });
  assert.deepEqual([large.status, errorOf(large).code], [413, "body_too_large"]);
  const foreign = await chat(hello, { origin: "https://evil.example" });
  assert.deepEqual([foreign.status, errorOf(foreign).code], [403, "origin_not_allowed"]);
});

test("over its limits a request gets 429 with the time to wait, in OpenAI's form", async (t) => {
  const policy = parsePolicy({
    limits: [{ name: "chat", algorithm: "window", key: "principal", limit: 1, period: 60, classes: ["chat"] }],
  });
  const { chat, responses } = await start(t, {}, { policy });
  assert.equal((await chat(hello)).status, 200);
  const denied = await responses({ model: "m", input: "Hi" });
  assert.deepEqual(
    [denied.status, errorOf(denied).type, errorOf(denied).code],
    [429, "requests", "rate_limit_exceeded"],
  );
  assert.ok(Number(denied.headers.get("retry-after")) > 0);
});

test("a failure before the first piece has a status of its own; one after it is an event", async (t) => {
  const failure = new RpcError(StatusCode.UNAVAILABLE, "No model answers", { reason: "MODEL_UNAVAILABLE" });
  const early = await start(t, { events: [], failure });
  for (const stream of [false, true]) {
    const answer = await early.chat({ ...hello, stream });
    assert.deepEqual(
      [answer.status, errorOf(answer).type, errorOf(answer).code],
      [503, "server_error", "model_unavailable"],
    );
    assert.ok(answer.headers.has("retry-after"));
    assert.equal((await early.responses({ model: "m", input: "Hi", stream })).status, 503);
  }
  const late = await start(t, { events: [said("Hi")], failure });
  assert.equal((await late.chat(hello)).status, 503, "half an answer is none");
  const chunks = await late.chat({ ...hello, stream: true });
  assert.equal(chunks.status, 200);
  assert.match(chunks.text, /data: \{"error":\{"message":"No model answers","type":"server_error"[^\n]*\}\n\n$/);
  assert.doesNotMatch(chunks.text, /\[DONE\]/);
  const events = await late.responses({ model: "m", input: "Hi", stream: true });
  assert.match(
    events.text,
    /event: error\ndata: \{"message":"No model answers","type":"error"[^\n]*"sequence_number":5\}\n\n$/,
  );
});

test("models with any name are found, encoded or not, and what an answer cost is counted", async (t) => {
  const { call, chat, gateway } = await start(t);
  for (const name of ["compatible:org/llama", encodeURIComponent("compatible:org/llama")])
    assert.equal((await call("GET", `/v1/models/${name}`)).json["id"], "compatible:org/llama");
  assert.equal((await call("GET", "/v1/models/other")).status, 404);
  await chat(hello);
  await chat({ ...hello, stream: true });
  const metrics = await gateway.metrics.registry.metrics();
  assert.match(metrics, /warren_model_tokens_total\{route="\/v1\/chat\/completions",kind="input"\} 6/);
  assert.match(metrics, /warren_model_tokens_total\{route="\/v1\/chat\/completions",kind="output"\} 4/);
});
