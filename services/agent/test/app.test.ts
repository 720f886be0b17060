import assert from "node:assert/strict";
import { test } from "node:test";
import { StatusCode } from "@warren/mesh";
import { Role } from "@warren/proto/warren/agent/v1/agent";
import { AgentMessageSent, SessionCreated } from "@warren/proto/warren/events/v1/events";
import { gather, startAgent, textOf, until, untilOffered } from "./helpers/agent.ts";

const clockTools = {
  get_current_time: {
    about: {
      description: "Tells the date and the time of day.",
      inputSchema: { type: "object", properties: { timezone: { type: "string" } } },
    },
    does: () => "2026-01-02T03:04:05Z",
  },
};

test("a conversation over the mesh: greeting, memory, a tool, and the same after a restart", async (t) => {
  const agent = await startAgent(t);
  const alice = agent.as("device:alice");
  const hello = await alice.chat({ message: "Hello!" });
  assert.match(hello.message, /^Hello!/);
  assert.match(hello.sessionId, /^s_[A-Za-z0-9_-]{16}$/);
  assert.equal(hello.usage?.model, "offline");
  const { sessionId } = hello;
  await alice.chat({ sessionId, message: "My name is Alice." });
  assert.match((await alice.chat({ sessionId, message: "What's my name?" })).message, /Alice/);

  await agent.plugins.run("clock", clockTools);
  await untilOffered(alice, "get_current_time");
  const time = await alice.chat({ sessionId, message: "What time is it?" });
  assert.match(time.message, /2026-01-02T03:04:05Z/);
  assert.deepEqual(
    time.toolCalls.map((call) => [call.pluginId, call.name, call.result, call.error]),
    [["clock", "get_current_time", "2026-01-02T03:04:05Z", ""]],
  );
  assert.ok((time.toolCalls[0]?.durationMs ?? 0) > 0);
  assert.equal(time.usage?.steps, 2);
  assert.equal(agent.plugins.calls[0]?.principal, "device:alice");
  assert.match(agent.plugins.calls[0]?.idempotencyKey ?? "", new RegExp(`^${sessionId}/t_[^/]+/1/t_`));

  await agent.mesh.close();
  await agent.nats.restart();
  await agent.replica();
  await until("the gateway back", () => agent.gateway.up);
  assert.match((await alice.chat({ sessionId, message: "What's my name?" })).message, /Alice/);
});

test("a stream tells the turn from its start to the whole reply, numbered from 1", async (t) => {
  const agent = await startAgent(t);
  await agent.plugins.run("clock", clockTools);
  const alice = agent.as("device:alice");
  await untilOffered(alice, "get_current_time");
  const events = await gather(alice.streamChat({ message: "What time is it?" }));
  const kinds = events.map(({ event }) => event?.$case ?? "");
  assert.deepEqual([...new Set(kinds)], ["started", "toolCall", "toolResult", "text", "completed"]);
  assert.ok(kinds.filter((kind) => kind === "text").length > 2, "text in pieces");
  assert.deepEqual(
    events.map((event) => event.sequence),
    events.map((_, index) => index + 1),
  );
  const last = events.at(-1)?.event;
  assert.ok(last?.$case === "completed");
  assert.equal(last.value.message, textOf(events));
  const call = events.find(({ event }) => event?.$case === "toolCall")?.event?.value as { id: string; result: string };
  const result = events.find(({ event }) => event?.$case === "toolResult")?.event?.value as {
    id: string;
    result: string;
  };
  assert.equal(call.result, "");
  assert.equal(result.id, call.id);
  assert.equal(result.result, "2026-01-02T03:04:05Z");
});

test("a session belongs to its principal alone; to others it does not exist", async (t) => {
  const agent = await startAgent(t);
  const [alice, bob, operator] = [agent.as("device:alice"), agent.as("device:bob"), agent.as("operator", ["*"])];
  const { sessionId } = await alice.chat({ message: "My name is Alice." });
  for (const other of [bob, operator]) {
    const unknown = { code: StatusCode.NOT_FOUND, message: new RegExp(`no session ${sessionId}`) };
    await assert.rejects(other.getSession({ id: sessionId }), unknown);
    await assert.rejects(other.chat({ sessionId, message: "What's my name?" }), unknown);
    await assert.rejects(gather(other.streamChat({ sessionId, message: "Hi" })), unknown);
    assert.deepEqual((await other.listSessions({})).sessions, []);
  }
  await assert.rejects(alice.chat({ sessionId: "s_unknown", message: "Hi" }), { code: StatusCode.NOT_FOUND });
  const own = await operator.chat({ message: "Hello!" });
  assert.deepEqual(
    (await operator.listSessions({})).sessions.map((session) => session.id),
    [own.sessionId],
  );
  assert.equal((await alice.getSession({ id: sessionId })).messages.length, 2);
});

test("a session reads as its messages, with tool calls and times", async (t) => {
  const agent = await startAgent(t);
  await agent.plugins.run("clock", clockTools);
  const alice = agent.as("device:alice");
  await untilOffered(alice, "get_current_time");
  const before = Date.now();
  const { sessionId } = await alice.chat({ message: `Hello! ${"Nice to meet you. ".repeat(20)}` });
  await alice.chat({ sessionId, message: "What time is it?" });
  const session = await alice.getSession({ id: sessionId });
  assert.deepEqual(
    session.messages.map((message) => message.role),
    [Role.USER, Role.ASSISTANT, Role.USER, Role.ASSISTANT],
  );
  assert.equal(session.messageCount, 4);
  assert.match(session.title, /^Hello! Nice to meet you\..{1,60}…$/);
  assert.equal(session.messages[3]?.toolCalls[0]?.result, "2026-01-02T03:04:05Z");
  assert.match(session.messages[3]?.text ?? "", /2026/);
  const times = [session.createTime, ...session.messages.map((message) => message.time), session.updateTime].map(
    (time) => time?.getTime() ?? 0,
  );
  assert.ok(times.every((time) => time >= before && time <= Date.now()));
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b),
  );
});

test("the list shows the newest first, in pages that do not shift", async (t) => {
  const agent = await startAgent(t);
  const alice = agent.as("device:alice");
  const ids: string[] = [];
  for (let number = 1; number <= 5; number++)
    ids.unshift((await alice.chat({ message: `Hello number ${number}` })).sessionId);
  const first = await alice.listSessions({ pageSize: 2 });
  assert.deepEqual(
    first.sessions.map((session) => [session.id, session.title, session.messageCount, session.messages.length]),
    [
      [ids[0], "Hello number 5", 2, 0],
      [ids[1], "Hello number 4", 2, 0],
    ],
  );
  await alice.chat({ message: "A newer one" });
  const second = await alice.listSessions({ pageSize: 2, pageToken: first.nextPageToken });
  assert.deepEqual(
    second.sessions.map((session) => session.id),
    ids.slice(2, 4),
  );
  const third = await alice.listSessions({ pageSize: 2, pageToken: second.nextPageToken });
  assert.deepEqual(
    third.sessions.map((session) => session.id),
    ids.slice(4),
  );
  assert.equal(third.nextPageToken, "");
  for (const pageToken of [
    "nonsense",
    Buffer.from("[1]").toString("base64url"),
    Buffer.from('{"a":1}').toString("base64url"),
  ]) {
    await assert.rejects(alice.listSessions({ pageToken }), { code: StatusCode.INVALID_ARGUMENT });
  }
});

test("what the caller may not call is not offered, and a stopped plugin's tools go away", async (t) => {
  const agent = await startAgent(t);
  await agent.plugins.run("clock", clockTools);
  const alice = agent.as("device:alice");
  await untilOffered(alice, "get_current_time");
  const guest = agent.as("device:guest", ["chat"]);
  assert.match((await guest.chat({ message: "What can you do?" })).message, /No tool is available/);
  assert.deepEqual((await guest.chat({ message: "What time is it?" })).toolCalls, []);
  await agent.plugins.stop("clock");
  await until("the tool withdrawn", async () =>
    (await alice.chat({ message: "What can you do?" })).message.includes("No tool"),
  );
});

test("the mesh is told of new sessions and of replies", async (t) => {
  const agent = await startAgent(t);
  const created = agent.gateway.waitFor(SessionCreated, (event) => event.principal === "device:alice", {
    timeoutMs: 5_000,
  });
  const sent = agent.gateway.waitFor(AgentMessageSent, (event) => event.principal === "device:alice", {
    timeoutMs: 5_000,
  });
  const { sessionId } = await agent.as("device:alice").chat({ message: "Hello!" });
  assert.equal((await created).sessionId, sessionId);
  assert.equal((await sent).sessionId, sessionId);
});
