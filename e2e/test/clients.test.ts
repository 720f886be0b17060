import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { startStack, waitUntil } from "@warren/testing";
import { generateText, isStepCount, jsonSchema, streamText, tool } from "ai";
import OpenAI, { AuthenticationError, BadRequestError, NotFoundError } from "openai";
import { startOpenAiServer } from "../../services/agent/test/helpers/openai-server.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const REMOTE = "openai-compatible:test-model";
const weather = {
  name: "get_weather",
  description: "Tells the weather of a city.",
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
    additionalProperties: false,
  },
};
const ASKED = "What is the weather in the city 'Rome'?";

test("what clients already speak", async (t) => {
  const server = await startOpenAiServer({ script: () => ({ fault: "stall", text: "Once upon" }) });
  t.after(() => server.close());
  const stack = await startStack(t, {
    env: { WARREN_MODELS: `offline,${REMOTE}`, WARREN_OPENAI_COMPATIBLE_URL: server.url },
  });
  /** Waits until a trace leads from the gateway into the plugin. */
  const traced = async (traceId: string): Promise<void> => {
    const services = await waitUntil("the whole trace", 20_000, async () => {
      const { json } = await stack.request("GET", `/v1/traces/${traceId}`);
      const found = [...(json["spans"] ?? [])].map((span) => String(span["service"]));
      return found.includes("plugin:clock") && found.includes("gateway") ? found : undefined;
    });
    assert.deepEqual([...new Set(services)].sort(), ["gateway", "plugin-host", "plugin:clock"]);
  };
  const openai = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: stack.token, maxRetries: 0 });

  await t.test("openai: a chat completion, whole", async () => {
    const completion = await openai.chat.completions.create({
      model: "warren",
      messages: [
        { role: "developer", content: "Be brief." },
        { role: "user", content: [{ type: "text", text: "My name is Alice." }] },
        { role: "assistant", content: "Nice to meet you." },
        { role: "user", content: "What's my name?" },
      ],
      n: 1,
      max_completion_tokens: 100,
    });
    const [choice] = completion.choices;
    assert.equal(choice?.message.content, "Your name is Alice.");
    assert.equal(choice.message.role, "assistant");
    assert.equal(choice.finish_reason, "stop");
    assert.equal(completion.model, "offline");
    assert.match(completion.id, /^chatcmpl-/);
    assert.ok(Math.abs(completion.created - Date.now() / 1000) < 120);
    const { usage } = completion;
    assert.equal(usage?.total_tokens, (usage?.prompt_tokens ?? 0) + (usage?.completion_tokens ?? 0));
    assert.equal(completion._request_id?.length, 36);
  });
  await t.test("openai: streamed, with the usage at the end where it is asked for", async () => {
    const messages = [{ role: "user", content: "Hello!" }] as const;
    const stream = await openai.chat.completions.create({
      model: "offline",
      messages: [...messages],
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
    assert.match(text, /^Hello! I am Warren's offline model/);
    assert.ok(chunks.length > 5, "in pieces");
    assert.equal(chunks[0]?.choices[0]?.delta.role, "assistant");
    assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
    assert.equal(chunks.at(-2)?.choices[0]?.finish_reason, "stop");
    assert.deepEqual(chunks.at(-1)?.choices, []);
    assert.ok((chunks.at(-1)?.usage?.completion_tokens ?? 0) > 5);
    assert.ok(chunks.slice(0, -1).every((chunk) => chunk.usage === null));
    const without = await openai.chat.completions.create({ model: "offline", messages: [...messages], stream: true });
    for await (const chunk of without) assert.ok(!("usage" in chunk) && chunk.choices.length === 1);
  });
  await t.test("openai: an answer ends at a stop sequence and at the most tokens", async () => {
    const hello = { model: "offline", messages: [{ role: "user" as const, content: "Hello!" }] };
    const stopped = await openai.chat.completions.create({ ...hello, stop: " model" });
    assert.equal(stopped.choices[0]?.message.content, "Hello! I am Warren's offline");
    for (const most of [{ max_tokens: 2 }, { max_completion_tokens: 2 }]) {
      const short = await openai.chat.completions.create({ ...hello, ...most });
      assert.equal(short.choices[0]?.finish_reason, "length");
      assert.equal(short.usage?.completion_tokens, 2);
    }
  });
  await t.test("openai: the caller's tools come back as calls, and its own loop answers them", async () => {
    let asked = "";
    const runner = openai.chat.completions.runTools({
      model: "warren",
      messages: [{ role: "user", content: ASKED }],
      tools: [
        {
          type: "function",
          function: {
            ...weather,
            parse: JSON.parse,
            function: ({ city }: { city: string }) => {
              asked = city;
              return "21 degrees";
            },
          },
        },
      ],
    });
    assert.equal(await runner.finalContent(), "get_weather says: 21 degrees");
    assert.equal(asked, "Rome");
    const streamed = openai.chat.completions.stream({
      model: "warren",
      messages: [{ role: "user", content: ASKED }],
      tools: [{ type: "function", function: weather }],
      parallel_tool_calls: false,
    });
    const [choice] = (await streamed.finalChatCompletion()).choices;
    assert.equal(choice?.finish_reason, "tool_calls");
    const [call] = choice.message.tool_calls ?? [];
    assert.ok(call?.type === "function");
    assert.deepEqual([call.function.name, call.function.arguments], ["get_weather", '{"city":"Rome"}']);
  });
  await t.test("openai: plugins' tools are neither offered nor run", async () => {
    const { choices } = await openai.chat.completions.create({
      model: "warren",
      messages: [{ role: "user", content: "What time is it?" }],
    });
    assert.equal(choices[0]?.message.tool_calls, undefined);
    assert.match(choices[0]?.message.content ?? "", /no answer to that/);
  });
  await t.test("openai: responses, whole and streamed, with functions", async () => {
    const said = await openai.responses.create({ model: "warren", instructions: "Be brief.", input: "Hello!" });
    assert.match(said.output_text, /^Hello! I am Warren's offline model/);
    assert.equal(said.status, "completed");
    assert.ok((said.usage?.output_tokens ?? 0) > 5);
    const tools = [{ type: "function" as const, ...weather, strict: true }];
    const asked = await openai.responses.create({ model: "warren", input: ASKED, tools });
    const [call] = asked.output;
    assert.ok(call?.type === "function_call");
    assert.deepEqual([call.name, call.arguments], ["get_weather", '{"city":"Rome"}']);
    const told = await openai.responses.create({
      model: "warren",
      tools,
      input: [
        { role: "user", content: ASKED },
        ...asked.output,
        { type: "function_call_output", call_id: call.call_id, output: "21 degrees" },
      ] as OpenAI.Responses.ResponseInput,
    });
    assert.equal(told.output_text, "get_weather says: 21 degrees");

    const stream = openai.responses.stream({ model: "warren", input: "Hello!" });
    const types: string[] = [];
    const numbers: number[] = [];
    for await (const event of stream) {
      types.push(event.type);
      numbers.push(event.sequence_number);
    }
    assert.deepEqual(
      numbers,
      numbers.map((_, i) => i),
    );
    assert.deepEqual(
      types.filter((type, i) => type !== types[i - 1]),
      [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
      ],
    );
    assert.equal((await stream.finalResponse()).output_text, said.output_text);
    const calling = await openai.responses.stream({ model: "warren", input: ASKED, tools }).finalResponse();
    assert.equal(calling.output[0]?.type, "function_call");
    const cut = await openai.responses.create({ model: "warren", input: "Hello!", max_output_tokens: 2 });
    assert.equal(cut.status, "incomplete");
    assert.equal(cut.incomplete_details?.reason, "max_output_tokens");
  });
  await t.test("openai: models, listed and one by one", async () => {
    const ids = (await openai.models.list()).data.map((model) => [model.id, model.object, model.owned_by]);
    assert.deepEqual(ids, [
      ["warren", "model", "warren"],
      ["offline", "model", "warren"],
      [REMOTE, "model", "openai-compatible"],
    ]);
    for (const id of ["warren", REMOTE]) assert.equal((await openai.models.retrieve(id)).id, id);
    await assert.rejects(openai.models.retrieve("gpt-none"), { status: 404, code: "model_not_found" });
  });
  await t.test("openai: pieces come while the model still speaks, and leaving ends the model's work", async () => {
    const stop = new AbortController();
    const stream = await openai.chat.completions.create(
      { model: REMOTE, messages: [{ role: "user", content: "Tell me a story." }], stream: true },
      { signal: stop.signal },
    );
    let text = "";
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      // The model says no more than this and never ends.
      if (text === "Once upon") stop.abort();
    }
    await server.cancelled;
    assert.equal(text, "Once upon");
  });
  await t.test("openai: each error has its class", async () => {
    const request = { model: "warren", messages: [{ role: "user" as const, content: "Hi" }] };
    const create = (more: object, client = openai) =>
      client.chat.completions.create({ ...request, ...more } as typeof request);
    await assert.rejects(create({ model: "gpt-none" }), NotFoundError);
    await assert.rejects(create({ n: 2 }), (error) => error instanceof BadRequestError && error.param === "n");
    await assert.rejects(create({}, openai.withOptions({ apiKey: "wrong" })), AuthenticationError);
    await assert.rejects(openai.responses.create({ model: "warren", input: "Hi", previous_response_id: "resp_1" }), {
      status: 400,
      param: "previous_response_id",
    });
  });

  const provider = createOpenAICompatible({
    name: "warren",
    baseURL: `${stack.url}/v1`,
    apiKey: stack.token,
    includeUsage: true,
  });
  const tools = {
    get_weather: tool({
      description: weather.description,
      inputSchema: jsonSchema<{ city: string }>(weather.parameters as Parameters<typeof jsonSchema>[0]),
      execute: ({ city }) => `21 degrees in ${city}`,
    }),
  };
  await t.test("AI SDK: generateText runs the caller's tools in its own loop", async () => {
    const { text, steps, usage } = await generateText({
      model: provider("warren"),
      prompt: ASKED,
      tools,
      stopWhen: isStepCount(3),
    });
    assert.equal(text, "get_weather says: 21 degrees in Rome");
    assert.equal(steps.length, 2);
    assert.ok((usage.totalTokens ?? 0) > 0);
  });
  await t.test("AI SDK: streamText, with tools", async () => {
    const result = streamText({ model: provider("warren"), prompt: ASKED, tools, stopWhen: isStepCount(3) });
    const pieces: string[] = [];
    for await (const piece of result.textStream) pieces.push(piece);
    assert.equal(pieces.join(""), "get_weather says: 21 degrees in Rome");
    assert.ok(pieces.length > 2, "in pieces");
    assert.equal(await result.finishReason, "stop");
    assert.ok(((await result.usage).outputTokens ?? 0) > 0);
  });

  for (const version of ["2026-07-28", "2025-11-25"])
    await t.test(`MCP ${version}: the plugins' tools are listed and called, in the client's own trace`, async () => {
      const mode = version === "2025-11-25" ? "legacy" : { pin: version };
      const client = new Client({ name: "e2e", version: "1" }, { versionNegotiation: { mode } });
      const headers = { authorization: `Bearer ${stack.token}` };
      await client.connect(
        new StreamableHTTPClientTransport(new URL(`${stack.url}/mcp`), { requestInit: { headers } }),
      );
      assert.equal(client.getNegotiatedProtocolVersion(), version);
      const names = await waitUntil("the plugins", 20_000, async () => {
        const { tools } = await client.listTools(undefined, { cacheMode: "bypass" });
        const found = tools.map((tool) => tool.name);
        return ["clock__get_current_time", "text__reverse_text"].every((name) => found.includes(name))
          ? found
          : undefined;
      });
      assert.equal(new Set(names).size, names.length);
      const traceId = randomBytes(16).toString("hex");
      const result = await client.callTool({
        name: "clock__get_current_time",
        arguments: { timezone: "Europe/Berlin" },
        _meta: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
      });
      assert.match(JSON.stringify(result.content), /Europe\/Berlin/);
      const wrong = await client.callTool({ name: "clock__get_current_time", arguments: { timezone: "No/Where" } });
      assert.equal(wrong.isError, true);
      await client.close();
      await traced(traceId);
    });
  await t.test("MCP: a call without a trace in it belongs to the trace of its HTTP request", async () => {
    const traceId = randomBytes(16).toString("hex");
    const called = await stack.request("POST", "/mcp", {
      body: { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "clock__get_current_time", arguments: {} } },
      headers: {
        accept: "application/json, text/event-stream",
        traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
      },
    });
    assert.equal(called.status, 200, called.text);
    await traced(traceId);
  });
  await t.test("the guide's commands and programs work as pasted", async () => {
    const guide = readFileSync(fileURLToPath(new URL("../../docs/guides/clients.md", import.meta.url)), "utf8");
    const blocks = [...guide.matchAll(/^```(\w+)\n([^]*?)^```$/gm)].map(([, language, code = ""]) => ({
      language,
      code,
    }));
    const here = (code: string): string => code.replaceAll("http://127.0.0.1:8080", stack.url);
    const commands = blocks.filter(({ language }) => language === "sh").map(({ code }) => here(code));
    const programs = blocks.filter(({ language }) => language === "js").map(({ code }) => here(code));
    assert.deepEqual([commands.length, programs.length], [3, 3]);
    // The token that the first command gets is the others', and the programs', too.
    const token = 'printf "\\ntoken:%s\\n" "$WARREN_TOKEN"';
    const shell = await run("bash", ["-euo", "pipefail", "-c", [...commands, token].join("\n")], ROOT, stack.dataDir);
    assert.match(shell, /"id":"openai-compatible:test-model"/);
    assert.match(shell, /"content":"Hello! I am Warren's offline model/);
    assert.match(shell, /UTC/);
    const env = { WARREN_URL: stack.url, WARREN_TOKEN: /^token:(wak_\S+)$/m.exec(shell)?.[1] ?? "" };
    const printed = await Promise.all(
      programs.map((code) =>
        run(process.execPath, ["--input-type=module", "-e", code], `${ROOT}e2e`, stack.dataDir, env),
      ),
    );
    assert.match(printed[0] ?? "", /^Hello! [^]*\nI am Warren's offline model/);
    assert.equal(printed[1], "get_weather says: 21 degrees in Rome\n");
    assert.match(printed[2] ?? "", /^clock__get_current_time\n[^]*Europe\/Rome/);
  });
  await t.test("MCP: another client needs a token, and finds out from whom", async () => {
    const refused = await stack.request("POST", "/mcp", { body: {}, token: null });
    assert.equal(refused.status, 401);
    const [, metadata = ""] = /resource_metadata="([^"]+)"/.exec(refused.headers.get("www-authenticate") ?? "") ?? [];
    const { json } = await stack.request("GET", metadata.slice(stack.url.length), { token: null });
    assert.equal(String(json["resource"]), `${stack.url}/mcp`);
  });
});

/** Runs a command as a person would on the machine of this stack; what it printed. */
async function run(
  command: string,
  args: readonly string[],
  cwd: string,
  dataDir: string,
  more: Record<string, string> = {},
): Promise<string> {
  const env = {
    ...process.env,
    PATH: `${dirname(process.execPath)}:${process.env["PATH"]}`,
    WARREN_DATA_DIR: dataDir,
    XDG_CONFIG_HOME: join(dataDir, "xdg"),
    ...more,
  };
  return (await promisify(execFile)(command, args, { cwd, env, timeout: 60_000 })).stdout;
}
