import assert from "node:assert/strict";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import {
  type Arrived,
  eventStream,
  type FakeGateway,
  type Route,
  sendJson,
  sendProblem,
  startFakeGateway,
} from "../support/fake-gateway.ts";
import { writeTestProfile } from "../support/profile.ts";
import { type Home, makeHome } from "../support/warren.ts";

const call = { id: "call-1", pluginId: "clock", name: "get_current_time", arguments: { zone: "UTC" } };
const usage = { inputTokens: 3, outputTokens: 5, totalTokens: 8, model: "offline", steps: 2 };

test("the reply streams to stdout, and tool calls are shown beside it", async (t) => {
  const { gateway, home } = await paired(t, speak);
  const { code, stdout, stderr } = await home.warren(["chat", "What", "time", "is", "it?"]);
  assert.equal(code, 0, stderr);
  assert.equal(stdout, "It is noon.\n");
  assert.match(stderr, /→ clock\.get_current_time \{"zone":"UTC"\}/);
  assert.match(stderr, /← 12:00 \(1\.5 ms\)/);
  assert.deepEqual(gateway.bodies("POST /v1/chat"), [{ message: "What time is it?" }]);
  assert.equal(gateway.requests[0]?.headers.accept, "text/event-stream");
});

test("with --json the gateway's answer is the one document on stdout", async (t) => {
  const answer = { sessionId: "s1", message: "Hello!", toolCalls: [], usage };
  const { gateway, home } = await paired(t, (_request, response) => sendJson(response, answer));
  const { code, stdout, stderr } = await home.warren(["chat", "Hello!", "--json"]);
  assert.equal(code, 0);
  assert.deepEqual(JSON.parse(stdout), answer);
  assert.equal(stderr, "");
  assert.equal(gateway.requests[0]?.headers.accept, "application/json");
});

test("a message can be piped in", async (t) => {
  const { gateway, home } = await paired(t, speak);
  assert.equal((await home.warren(["chat"], { input: "two\nlines\n" })).code, 0);
  assert.deepEqual(gateway.bodies("POST /v1/chat"), [{ message: "two\nlines" }]);
  const { code, stderr } = await home.warren(["chat"]);
  assert.equal(code, 2);
  assert.match(stderr, /nothing to say/);
});

test("a conversation goes on until --new begins another", async (t) => {
  const { gateway, home } = await paired(t, speak);
  await home.warren(["chat", "one"]);
  await home.warren(["chat", "two"]);
  await home.warren(["chat", "three", "--new"]);
  await home.warren(["chat", "four", "--session", "other"]);
  assert.deepEqual(gateway.bodies("POST /v1/chat"), [
    { message: "one" },
    { sessionId: "s1", message: "two" },
    { message: "three" },
    { sessionId: "other", message: "four" },
  ]);
  assert.equal((await stat(join(home.folder, "state", "warren", "conversations.json"))).mode & 0o777, 0o600);
});

test("a remembered conversation that is gone gives way to a new one; one that was asked for does not", async (t) => {
  let gone = false;
  const { home } = await paired(t, (request, response) => {
    if (gone && (request.json as { sessionId?: string }).sessionId)
      return sendProblem(response, 404, "SESSION_NOT_FOUND", "There is no conversation s1");
    return speak(request, response);
  });
  await home.warren(["chat", "one"]);
  gone = true;
  const again = await home.warren(["chat", "two"]);
  assert.equal(again.code, 0);
  assert.match(again.stderr, /s1 is gone; beginning a new one/);
  assert.equal((await home.warren(["chat", "three", "--session", "s1"])).code, 5);
});

test("a failure in the middle of a reply is told", async (t) => {
  const { home } = await paired(t, (_request, response) => {
    const send = eventStream(response);
    send("text", { sequence: 1, text: { text: "It is" } });
    send("error", { title: "Unavailable", status: 503, detail: "The model does not answer", code: "UNAVAILABLE" });
    response.end();
  });
  const { code, stdout, stderr } = await home.warren(["chat", "x"]);
  assert.equal(code, 7);
  assert.equal(stdout, "It is\n");
  assert.match(stderr, /The model does not answer/);
});

test("a reply that is cut off is no reply", async (t) => {
  const { home } = await paired(t, (_request, response) => {
    eventStream(response)("text", { sequence: 1, text: { text: "It is" } });
    response.end();
  });
  const { code, stderr } = await home.warren(["chat", "x"]);
  assert.equal(code, 7);
  assert.match(stderr, /cut off/);
});

test("Ctrl-C cancels the turn at the gateway", async (t) => {
  const cancelled = Promise.withResolvers<void>();
  const { home } = await paired(t, (_request, response) => {
    eventStream(response)("text", { sequence: 1, text: { text: "thinking" } });
    response.on("close", () => cancelled.resolve());
  });
  const started = home.start(["chat", "x"]);
  await started.says("thinking");
  started.child.kill("SIGINT");
  assert.equal((await started.ended).code, 130);
  await cancelled.promise;
});

test("in a conversation each line is a turn, and Ctrl-C cancels a reply without ending it", async (t) => {
  const { gateway, home } = await paired(t, async (request, response) => {
    if ((request.json as { message: string }).message !== "wait") return speak(request, response);
    eventStream(response)("text", { sequence: 1, text: { text: "thinking" } });
    await once(response, "close");
  });
  const started = home.start(["chat", "-i"]);
  started.type("hello\n");
  await started.says("It is noon.");
  started.type("wait\n");
  await started.says("thinking");
  started.child.kill("SIGINT");
  await started.says("(cancelled)");
  started.type("again\n");
  started.child.stdin?.end();
  const { code, stdout } = await started.ended;
  assert.equal(code, 0);
  assert.equal(stdout, "It is noon.\nthinking\nIt is noon.\n");
  assert.deepEqual(gateway.bodies("POST /v1/chat").at(-1), { sessionId: "s1", message: "again" });
});

test("what a model says cannot drive the terminal", async (t) => {
  const { home } = await paired(t, (_request, response) => {
    const send = eventStream(response);
    send("text", { sequence: 1, text: { text: "\u001b]0;owned\u0007" } });
    send("completed", { sequence: 2, completed: { sessionId: "s1", message: "" } });
    response.end();
  });
  const { stdout } = await home.warren(["chat", "x"]);
  assert.equal(stdout, "\\x1b]0;owned\\x07\n");
});

const speak: Route = (_request: Arrived, response) => {
  const send = eventStream(response);
  send("started", { sequence: 1, started: { sessionId: "s1", turnId: "t1" } });
  send("tool_call", { sequence: 2, toolCall: call });
  send("tool_result", { sequence: 3, toolResult: { ...call, result: "12:00", durationMs: 1.5 } });
  send("text", { sequence: 4, text: { text: "It is " } });
  send("text", { sequence: 5, text: { text: "noon." } });
  send("completed", {
    sequence: 6,
    completed: { sessionId: "s1", message: "It is noon.", toolCalls: [{ ...call, result: "12:00" }], usage },
  });
  response.end();
};

async function paired(t: TestContext, chat: Route): Promise<{ gateway: FakeGateway; home: Home }> {
  const gateway = await startFakeGateway(t, { "POST /v1/chat": chat });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  return { gateway, home };
}
