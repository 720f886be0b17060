import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { ModelError, type ModelProvider } from "../../src/model/provider.ts";
import { createProviders, type ModelSettings } from "../../src/model/providers.ts";
import { type Script, startOpenAiServer } from "../helpers/openai-server.ts";
import { stepRequest, takeStep } from "../helpers/steps.ts";

const clock = {
  name: "get_current_time",
  description: "Tells the time.",
  inputSchema: { type: "object", properties: { timezone: { type: "string" } } },
};

async function modelAgainst(t: TestContext, script: Script, settings: Partial<ModelSettings> = {}) {
  const server = await startOpenAiServer({ script });
  t.after(() => server.close());
  const [model] = await createProviders({
    models: [{ kind: "openai-compatible", model: "llama3" }],
    openAiCompatibleUrl: server.url,
    openAiUrl: server.url,
    anthropicUrl: server.url,
    stallMs: 30_000,
    maxTools: 24,
    ...settings,
  });
  return { server, model: model as ModelProvider };
}

const ask = (text: string, more = {}) => stepRequest([{ role: "user", text }], more);

test("text streams piece by piece, with the usage the server reports", async (t) => {
  const { server, model } = await modelAgainst(t, [{ text: "Hello there, friend.", usage: { input: 21, output: 4 } }]);
  const step = await takeStep(model, ask("Hi", { instructions: "Be kind." }));
  assert.equal(step.text, "Hello there, friend.");
  assert.ok(step.pieces.length >= 3, "in pieces");
  assert.deepEqual(step.finish, {
    type: "finish",
    model: "llama3",
    usage: { inputTokens: 21, outputTokens: 4 },
    reason: "stop",
  });
  assert.deepEqual(
    server.requests[0]?.body.messages.map((message) => [message.role, message.content]),
    [
      ["system", "Be kind."],
      ["user", "Hi"],
    ],
  );
  assert.equal(server.requests[0]?.body.model, "llama3");
  assert.equal(server.requests[0]?.path, "/v1/chat/completions");
});

test("tool calls come whole out of their fragments, and nothing runs them here", async (t) => {
  const { server, model } = await modelAgainst(t, [
    {
      text: "Let me see.",
      toolCalls: [
        { name: "get_current_time", arguments: { timezone: "Asia/Tokyo" } },
        { name: "get_current_time", arguments: {} },
      ],
    },
  ]);
  const step = await takeStep(model, ask("What time is it?", { tools: [clock] }));
  assert.equal(step.text, "Let me see.");
  assert.deepEqual(
    step.toolCalls.map((call) => [call.name, call.arguments]),
    [
      ["get_current_time", { timezone: "Asia/Tokyo" }],
      ["get_current_time", {}],
    ],
  );
  assert.equal(server.requests.length, 1);
  assert.deepEqual(server.requests[0]?.body.tools?.[0]?.function.parameters, clock.inputSchema);
});

test("calls and results of the past reach the model in its own form", async (t) => {
  const { server, model } = await modelAgainst(t, [{ text: "ok" }]);
  const call = { id: "t_1_1_0", name: "get_current_time", arguments: { timezone: "UTC" } };
  await takeStep(
    model,
    stepRequest(
      [
        { role: "user", text: "What time is it?" },
        { role: "assistant", text: "", toolCalls: [call, { ...call, id: "t_1_1_1" }] },
        { role: "tool", callId: "t_1_1_0", name: call.name, text: "12:00", failed: false },
        { role: "tool", callId: "t_1_1_1", name: call.name, text: "it crashed", failed: true },
      ],
      { tools: [clock], toolUse: "none" },
    ),
  );
  const body = server.requests[0]?.body;
  assert.deepEqual(
    body?.messages.map((message) => message.role),
    ["user", "assistant", "tool", "tool"],
  );
  assert.equal(body?.messages[1]?.tool_calls?.[0]?.id, "t_1_1_0");
  assert.deepEqual(JSON.parse(body?.messages[1]?.tool_calls?.[0]?.function.arguments ?? ""), { timezone: "UTC" });
  assert.deepEqual(
    body?.messages.slice(2).map((message) => [message.tool_call_id, message.content]),
    [
      ["t_1_1_0", "12:00"],
      ["t_1_1_1", "it crashed"],
    ],
  );
  assert.equal(body?.tool_choice, "none");
});

test("a call of an unknown tool or with broken arguments comes back as invalid", async (t) => {
  const { model } = await modelAgainst(t, [
    {
      toolCalls: [
        { name: "rm_rf", arguments: {} },
        { name: "get_current_time", arguments: "{broken" },
        { name: "get_current_time", arguments: "[1]" },
      ],
    },
  ]);
  const invalid: (string | undefined)[] = [];
  for await (const event of model.step(ask("Go", { tools: [clock] })))
    if (event.type === "tool-call") invalid.push(event.invalid);
  assert.equal(invalid.length, 3);
  for (const reason of invalid) assert.match(reason ?? "", /try again/);
});

const failures: [what: string, script: Script, kind: ModelError["kind"], message: RegExp][] = [
  ["HTTP 500", [{ status: 500 }], "unavailable", /HTTP 500/],
  ["HTTP 429", [{ status: 429 }], "unavailable", /HTTP 429/],
  ["HTTP 401", [{ status: 401, message: "wrong key sk-secret" }], "misconfigured", /key file/],
  ["HTTP 404", [{ status: 404 }], "misconfigured", /model's name/],
  ["HTTP 400", [{ status: 400, message: "too many tools" }], "rejected", /too many tools/],
  [
    "a redirect",
    [{ status: 307, location: "http://127.0.0.1:1/v1/chat/completions" }],
    "unavailable",
    /could not be reached/,
  ],
  ["a closed connection", [{ fault: "connection" }], "unavailable", /could not be reached/],
  ["an answer that breaks off", [{ fault: "cut" }], "unavailable", /broke off/],
];
for (const [what, script, kind, message] of failures) {
  test(`${what} is a ModelError of kind ${kind}, tried once`, async (t) => {
    const { server, model } = await modelAgainst(t, script);
    await assert.rejects(takeStep(model, ask("Hi")), (error) => {
      assert.ok(error instanceof ModelError, String(error));
      assert.equal(error.kind, kind);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /sk-secret/);
      return true;
    });
    assert.equal(server.requests.length, 1);
  });
}

for (const fault of ["hang", "stall"] as const) {
  test(`a server that falls silent (${fault}) is unavailable after the stall time, and let go`, async (t) => {
    const { server, model } = await modelAgainst(t, [{ fault }], { stallMs: 150 });
    await assert.rejects(takeStep(model, ask("Hi")), { name: "ModelError", kind: "unavailable", message: /silent/ });
    await server.cancelled;
  });
}

test("an abort ends the request at the server and throws the signal's reason", async (t) => {
  const { server, model } = await modelAgainst(t, [{ fault: "stall" }]);
  const controller = new AbortController();
  const reason = new Error("the caller left");
  const read = async () => {
    for await (const event of model.step(ask("Hi", { signal: controller.signal })))
      if (event.type === "text") controller.abort(reason);
  };
  await assert.rejects(read(), reason);
  await server.cancelled;
});

test("a reader that leaves ends the request at the server", async (t) => {
  const { server, model } = await modelAgainst(t, [{ fault: "stall" }]);
  for await (const event of model.step(ask("Hi"))) {
    assert.equal(event.type, "text");
    break;
  }
  await server.cancelled;
});

test("the key comes from a file that only its owner can read", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "warren-agent-"));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, "key");
  await writeFile(file, "sk-canary\n", { mode: 0o600 });
  const compatible = await modelAgainst(t, [{ text: "ok" }], { openAiCompatibleKeyFile: file });
  await takeStep(compatible.model, ask("Hi"));
  assert.equal(compatible.server.requests[0]?.authorization, "Bearer sk-canary");
  const openai = await modelAgainst(t, [{ text: "ok" }], {
    models: [{ kind: "openai", model: "gpt-5" }],
    openAiKeyFile: file,
  });
  assert.equal((await takeStep(openai.model, ask("Hi"))).text, "ok");
  assert.equal(openai.server.requests[0]?.authorization, "Bearer sk-canary");
  assert.equal(openai.server.requests[0]?.path, "/v1/chat/completions");

  await chmod(file, 0o644);
  const open = { models: [{ kind: "openai", model: "gpt-5" }], openAiKeyFile: file } as const;
  await assert.rejects(modelAgainst(t, [], open), /chmod 600/);
  await chmod(file, 0o600);
  await writeFile(file, "two\nlines");
  await assert.rejects(
    modelAgainst(t, [], open),
    (error: Error) => /holds no key/.test(error.message) && !/two/.test(error.message),
  );
  await assert.rejects(modelAgainst(t, [], { ...open, openAiKeyFile: join(folder, "none") }), /cannot be opened/);
  await assert.rejects(modelAgainst(t, [], { models: open.models }), /WARREN_OPENAI_KEY_FILE/);
});
