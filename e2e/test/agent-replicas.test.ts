import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import test, { type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { type Json, startStack, type TestStack, waitUntil } from "@warren/testing";
import {
  type OpenAiServer,
  type ScriptedAnswer,
  startOpenAiServer,
} from "../../services/agent/test/helpers/openai-server.ts";

const AGENT = fileURLToPath(new URL("../../services/agent/src/main.ts", import.meta.url));

/** A model that calls the clock, and whose next answers are these, one for each time that it is asked. */
async function startModel(t: TestContext, afterTool: readonly ScriptedAnswer[]): Promise<OpenAiServer> {
  let answered = 0;
  const server = await startOpenAiServer({
    script: ({ body }) =>
      body.messages.at(-1)?.role === "tool"
        ? (afterTool[answered++] ?? { text: "Once more." })
        : { text: "Let me see.", toolCalls: [{ name: "get_current_time", arguments: {} }] },
  });
  t.after(() => server.close());
  return server;
}

function start(t: TestContext, model: OpenAiServer): Promise<TestStack> {
  return startStack(t, {
    env: { WARREN_MODELS: "openai-compatible:test-model", WARREN_OPENAI_COMPATIBLE_URL: model.url },
  });
}

/** A second agent beside that of the stack, as another machine would run it. */
async function startSecondAgent(t: TestContext, stack: TestStack): Promise<ChildProcess> {
  const first = readFileSync(`/proc/${stack.pids()["agent-1"]}/environ`, "utf8").split("\0").filter(Boolean);
  const env = Object.fromEntries(first.map((each) => each.split(/=(.*)/s).slice(0, 2)));
  const second = spawn(process.execPath, [AGENT], {
    env: { ...env, WARREN_INSTANCE_ID: "agent-2" },
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const ended = once(second, "exit");
  t.after(async () => {
    second.kill("SIGKILL");
    await ended;
  });
  await Promise.race([
    once(second, "message"),
    ended.then(() => Promise.reject(new Error("the second agent ended before it was ready"))),
  ]);
  return second;
}

interface Event {
  readonly name: string;
  readonly id: number;
  readonly data: Json;
}

function eventsOf(text: string): Event[] {
  return [...text.matchAll(/^event: (.+)\n(?:id: (\d+)\n)?data: (.+)\n\n/gm)].map(
    ([, name = "", id = "0", data = "null"]) => ({ name, id: Number(id), data: JSON.parse(data) as Json }),
  );
}

const wordsOf = (events: readonly Event[]): string =>
  events.map(({ data }) => String(data["text"]?.["text"] ?? "")).join("");

/** The events of a chat as its client reads them, in the background. */
function chatting(stack: TestStack, message: string): { readonly events: () => Event[]; readonly done: Promise<void> } {
  let text = "";
  const done = (async () => {
    const response = await fetch(`${stack.url}/v1/chat`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${stack.token}`,
        "content-type": "application/json",
        accept: "text/event-stream",
      },
      body: JSON.stringify({ message }),
    });
    assert.equal(response.status, 200);
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) text += chunk;
  })();
  done.catch(() => undefined);
  return { events: () => eventsOf(text), done };
}

test("a chat whose agent is removed is answered whole by another, on the client's one stream", async (t) => {
  const model = await startModel(t, [{ fault: "hang" }, { text: "It is noon." }]);
  const stack = await start(t, model);
  const chat = chatting(stack, "What time is it?");
  // The model of the first agent thinks, and will never answer it.
  await waitUntil("the second step", 20_000, () => model.requests.length === 2 || undefined);
  await startSecondAgent(t, stack);
  process.kill(stack.pids()["agent-1"] ?? 0, "SIGTERM");
  await chat.done;
  const events = chat.events();
  assert.deepEqual(
    events.map(({ name, id }) => `${id} ${name}`),
    ["started", "text", "text", "text", "tool_call", "tool_result", "text", "text", "text", "completed"].map(
      (name, index) => `${index + 1} ${name}`,
    ),
  );
  assert.equal(wordsOf(events), "Let me see.\n\nIt is noon.");
  assert.equal(String(events.at(-1)?.data["completed"]?.["message"]), wordsOf(events));
  // The first step was stored, and not paid again.
  assert.equal(model.requests.length, 3);
});

test("a chat whose agent is killed ends with an error, and its conversation answers when it is asked again", async (t) => {
  const model = await startModel(t, [{ fault: "stall", text: "It is" }, { text: "It is noon." }]);
  const stack = await start(t, model);
  const chat = chatting(stack, "What time is it?");
  await waitUntil("its first words", 20_000, () => wordsOf(chat.events()).endsWith("It is") || undefined);
  await stack.killAndAwait("agent-1");
  await chat.done;
  const events = chat.events();
  const failure = events.at(-1);
  assert.deepEqual([failure?.name, String(failure?.data["status"])], ["error", "503"], JSON.stringify(failure));
  assert.equal(wordsOf(events), "Let me see.\n\nIt is");
  const sessionId = String(events[0]?.data["started"]?.["sessionId"]);
  const again = await waitUntil("the answer of the next agent", 20_000, async () => {
    const answer = await stack.request("POST", "/v1/chat", { body: { message: "What time is it?", sessionId } });
    return answer.status === 200 ? answer : undefined;
  });
  assert.match(String(again.json["message"]), /It is noon\.$/);
  const session = await stack.request("GET", `/v1/sessions/${sessionId}`);
  const said = [...(session.json["messages"] ?? [])].map((message) => String(message["text"]));
  // The step that was stored before the kill is kept, what was only told is not.
  assert.deepEqual([said[0], said.at(-2), said.length], ["What time is it?", "What time is it?", 4], session.text);
});
