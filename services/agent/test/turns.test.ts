// Turns over the real mesh: more replicas, crashes, callers who leave, language models on the wire.
import assert from "node:assert/strict";
import { test } from "node:test";
import { StatusCode } from "@warren/mesh";
import { createProviders } from "../src/model/providers.ts";
import { gather, startAgent, textOf, until, untilOffered } from "./helpers/agent.ts";
import { type Script, startOpenAiServer } from "./helpers/openai-server.ts";

const echo = {
  about: {
    description: "Sends back a text.",
    inputSchema: { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
  },
};

/** A tool that hangs until its call is cancelled or it is let go. */
function hangingTool() {
  const started = Promise.withResolvers<void>();
  const cancelled = Promise.withResolvers<void>();
  const letGo = Promise.withResolvers<string>();
  const does = (_: unknown, { signal }: { signal: AbortSignal }) => {
    signal.addEventListener("abort", () => cancelled.resolve());
    started.resolve();
    return Promise.race([letGo.promise, cancelled.promise.then(() => "cancelled")]);
  };
  return { started: started.promise, cancelled: cancelled.promise, letGo: letGo.resolve, tool: { ...echo, does } };
}

test("a second turn in a session is ABORTED on every replica, and free again after the first", async (t) => {
  const agent = await startAgent(t);
  await agent.replica();
  const hanging = hangingTool();
  await agent.plugins.run("text", { slow_echo: hanging.tool });
  const alice = agent.as("device:alice");
  await untilOffered(alice, "slow_echo");
  const { sessionId } = await alice.chat({ message: "Hello!" });
  const slow = alice.chat({ sessionId, message: "Call slow_echo with 'x'" });
  await hanging.started;
  const others = await Promise.allSettled(
    Array.from({ length: 6 }, () => alice.chat({ sessionId, message: "Hello!" })),
  );
  for (const other of others)
    assert.equal(other.status === "rejected" && (other.reason as { code: number }).code, StatusCode.ABORTED);
  hanging.letGo("finally");
  assert.match((await slow).message, /finally/);
  assert.match((await alice.chat({ sessionId, message: "Hello!" })).message, /Hello/);
});

test("after a crash in the middle of a turn, another replica goes on within seconds", async (t) => {
  const agent = await startAgent(t);
  const hanging = hangingTool();
  await agent.plugins.run("text", { slow_echo: hanging.tool });
  const alice = agent.as("device:alice");
  await untilOffered(alice, "slow_echo");
  const { sessionId } = await alice.chat({ message: "My name is Alice." });
  const lost = alice.chat({ sessionId, message: "Call slow_echo with 'x'" }, { timeoutMs: 2_000 });
  lost.catch(() => undefined);
  await hanging.started;
  // Closed without a drain: to the rest of the mesh a crash.
  await agent.mesh.close();
  await agent.replica();
  const crashed = performance.now();
  const reply = await alice.chat({ sessionId, message: "What's my name?" });
  assert.match(reply.message, /Alice/);
  assert.ok(performance.now() - crashed < 5_000);
  await assert.rejects(lost);
  const { messages } = await alice.getSession({ id: sessionId });
  assert.deepEqual(
    messages.map((message) => message.text),
    ["My name is Alice.", messages[1]?.text, "Call slow_echo with 'x'", "", "What's my name?", reply.message],
  );
  assert.match(messages[3]?.toolCalls[0]?.error ?? "", /ended before/);
});

test("a caller who leaves ends the turn and its tool call; the session is free at once", async (t) => {
  const agent = await startAgent(t);
  const hanging = hangingTool();
  await agent.plugins.run("text", { slow_echo: hanging.tool });
  const alice = agent.as("device:alice");
  await untilOffered(alice, "slow_echo");
  const { sessionId } = await alice.chat({ message: "Hello!" });
  const controller = new AbortController();
  const call = alice.chat({ sessionId, message: "Call slow_echo with 'x'" }, { signal: controller.signal });
  await hanging.started;
  controller.abort();
  await assert.rejects(call, { code: StatusCode.CANCELLED });
  await hanging.cancelled;
  await until("the session free", () =>
    alice.chat({ sessionId, message: "Hello!" }).then(
      () => true,
      () => false,
    ),
  );
});

test("the caller's deadline ends a turn; a tool's own deadline is a result", async (t) => {
  const agent = await startAgent(t, { toolTimeoutMs: 200 });
  const [first, second] = [hangingTool(), hangingTool()];
  await agent.plugins.run("text", { slow_echo: first.tool, late_echo: second.tool });
  const alice = agent.as("device:alice");
  await untilOffered(alice, "late_echo");
  const short = alice.chat({ message: "Call slow_echo with 'x'" }, { timeoutMs: 100 });
  await assert.rejects(short, { code: StatusCode.DEADLINE_EXCEEDED });
  const late = await alice.chat({ message: "Call late_echo with 'x'" });
  assert.match(late.message, /late_echo failed/);
  assert.match(late.toolCalls[0]?.error ?? "", /deadline|time/i);
});

test("NATS restarted under a running agent: conversations go on", async (t) => {
  const agent = await startAgent(t);
  const alice = agent.as("device:alice");
  const { sessionId } = await alice.chat({ message: "My name is Alice." });
  await agent.nats.restart();
  await until("the mesh back", () => agent.gateway.up && agent.mesh.up);
  let reply = "";
  await until("an answer", () =>
    alice.chat({ sessionId, message: "What's my name?" }).then(
      ({ message }) => ((reply = message), true),
      () => false,
    ),
  );
  assert.match(reply, /Alice/);
});

async function withModel(
  t: Parameters<typeof startAgent>[0],
  script: Script,
  list: readonly ("remote" | "offline")[] = ["remote"],
) {
  const server = await startOpenAiServer({ script });
  t.after(() => server.close());
  const models = await createProviders({
    models: list.map((kind) =>
      kind === "offline" ? { kind, model: "" } : { kind: "openai-compatible", model: "llama3" },
    ),
    openAiCompatibleUrl: server.url,
    openAiUrl: server.url,
    anthropicUrl: server.url,
    stallMs: 30_000,
    maxTools: 24,
  });
  const agent = await startAgent(t, { models });
  await agent.plugins.run("text", { echo: { ...echo, does: ({ text }) => `echo: ${String(text)}` } });
  return { server, agent, alice: agent.as("device:alice") };
}

test("a language model calls a tool and answers with its result, over the wire format of OpenAI", async (t) => {
  const { server, agent, alice } = await withModel(t, ({ body }) => {
    const last = body.messages.at(-1);
    if (last?.role === "tool")
      return { text: `The tool said ${String(last.content)}.`, usage: { input: 30, output: 6 } };
    if (body.tools === undefined) return { text: "No tools yet." };
    return {
      text: "Calling.",
      toolCalls: [{ name: "echo", arguments: { text: "ping ✓" } }],
      usage: { input: 20, output: 9 },
    };
  });
  await until("the tool offered", async () => (await alice.chat({ message: "Hi" })).toolCalls.length > 0);
  const events = await gather(alice.streamChat({ message: "Echo ping" }));
  const last = events.at(-1)?.event;
  assert.ok(last?.$case === "completed");
  const { message, toolCalls, usage } = last.value;
  assert.equal(message, "Calling.\n\nThe tool said echo: ping ✓.");
  assert.equal(textOf(events), message);
  assert.deepEqual(
    toolCalls.map((call) => [call.pluginId, call.name, call.arguments, call.result]),
    [["text", "echo", { text: "ping ✓" }, "echo: ping ✓"]],
  );
  assert.deepEqual(usage, { inputTokens: 50, outputTokens: 15, totalTokens: 65, model: "llama3", steps: 2 });
  assert.ok(agent.plugins.calls.length >= 1);
  assert.match(JSON.stringify(server.requests.at(-1)?.body.messages[0]), /You are Warren/);
});

test("a model that fails with HTTP 500 is replaced by the next of the list; alone, it is UNAVAILABLE", async (t) => {
  const both = await withModel(t, [{ status: 500 }], ["remote", "offline"]);
  const reply = await both.alice.chat({ message: "Hello!" });
  assert.equal(reply.usage?.model, "offline");
  assert.match(reply.message, /offline model/);
  const alone = await withModel(t, [{ status: 500 }]);
  await assert.rejects(alone.alice.chat({ message: "Hello!" }), {
    code: StatusCode.UNAVAILABLE,
    message: /openai-compatible:llama3 answered HTTP 500/,
  });
  const refused = await withModel(t, [{ status: 401 }], ["remote", "offline"]);
  await assert.rejects(refused.alice.chat({ message: "Hello!" }), { code: StatusCode.FAILED_PRECONDITION });
});

test("a caller who leaves cuts the connection to the model", async (t) => {
  const { server, alice } = await withModel(t, [{ fault: "stall" }]);
  const controller = new AbortController();
  const read = async () => {
    for await (const { event } of alice.streamChat({ message: "Hi" }, { signal: controller.signal }))
      if (event?.$case === "text") controller.abort();
  };
  await assert.rejects(read(), { code: StatusCode.CANCELLED });
  await server.cancelled;
});
