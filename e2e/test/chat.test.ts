import assert from "node:assert/strict";
import test from "node:test";
import { type Json, startStack, waitUntil } from "@warren/testing";

test("a person chats", async (t) => {
  const stack = await startStack(t);
  const say = async (message: string, sessionId?: string): Promise<Json> => {
    const answer = await stack.request("POST", "/v1/chat", { body: { message, ...(sessionId ? { sessionId } : {}) } });
    assert.equal(answer.status, 200, answer.text);
    return answer.json;
  };
  let alice = "";

  await t.test("and is answered", async () => {
    const { message, sessionId, toolCalls, usage } = await say("Hello!");
    assert.match(String(message), /hello/i);
    assert.match(String(sessionId), /^[A-Za-z0-9_-]+$/);
    assert.deepEqual(toolCalls, []);
    assert.ok(Number(usage?.["totalTokens"]) > 0);
  });
  await t.test("and is remembered within the conversation, not outside of it", async () => {
    const first = await say("My name is Alice.");
    alice = String(first["sessionId"]);
    assert.match(String((await say("What's my name?", alice))["message"]), /Alice/);
    assert.doesNotMatch(String((await say("What's my name?"))["message"]), /Alice/);
  });
  await t.test("and the agent answers by calling a tool of a sandboxed plugin", async () => {
    const { toolCalls, message } = await say("What time is it?");
    assert.equal(toolCalls?.length, 1);
    assert.equal(toolCalls?.[0]?.["name"], "get_current_time");
    assert.equal(toolCalls?.[0]?.["pluginId"], "clock");
    assert.equal(toolCalls?.[0]?.["error"], "");
    const year = String(new Date().getUTCFullYear());
    assert.match(String(toolCalls?.[0]?.["result"]), new RegExp(year));
    assert.ok(String(message).length > 0);
  });
  await t.test("and sees the reply as it is written", async () => {
    const { text, headers } = await stack.request("POST", "/v1/chat", {
      body: { message: "What time is it?" },
      headers: { accept: "text/event-stream" },
    });
    assert.match(headers.get("content-type") ?? "", /^text\/event-stream/);
    const events = [...text.matchAll(/^event: (.+)$/gm)].map(([, name]) => name);
    assert.equal(events[0], "started");
    assert.ok(events.includes("tool_call") || events.includes("toolCall"), events.join());
    assert.equal(events.at(-1), "completed");
  });
  await t.test("and every conversation is still there after all services were started again", async () => {
    for (const name of ["gateway-1", "agent-1", "auth-1", "secrets-1", "plugin-host-1"]) await stack.killAndAwait(name);
    await waitUntil("the mesh's recovery", 10_000, async () => {
      const { status, json } = await stack
        .request("POST", "/v1/chat", { body: { message: "What's my name?", sessionId: alice } })
        .catch(() => ({ status: 0, json: undefined }));
      return status === 200 && /Alice/.test(String(json?.["message"])) ? true : undefined;
    });
    await waitUntil("the tool's return", 10_000, async () => {
      const { json } = await stack.request("POST", "/v1/chat", { body: { message: "What time is it?" } });
      const call = json["toolCalls"]?.[0];
      return String(call?.["name"]) === "get_current_time" && String(call?.["error"]) === "" ? true : undefined;
    });
    const sessions = (await stack.request("GET", "/v1/sessions")).json["sessions"];
    assert.ok([...(sessions ?? [])].some((session) => String(session["id"]) === alice));
    const whole = await stack.request("GET", `/v1/sessions/${alice}`);
    assert.equal(whole.json["messages"]?.[0]?.["text"], "My name is Alice.");
  });
});
