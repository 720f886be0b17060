import assert from "node:assert/strict";
import test from "node:test";
import { type Json, startStack, waitUntil } from "@warren/testing";

const CANARY = "canary-message-7f3a";

test("one chat with a tool call is one trace over every hop", async (t) => {
  const stack = await startStack(t);
  const chat = await stack.request("POST", "/v1/chat", { body: { message: `What time is it? ${CANARY}` } });
  assert.equal(chat.status, 200, chat.text);
  assert.equal(chat.json["toolCalls"]?.[0]?.["name"], "get_current_time");
  const traceId = chat.headers.get("traceparent")?.split("-")[1] ?? "";
  const spans = await waitUntil("the whole trace", 5000, async () => {
    const { json } = await stack.request("GET", `/v1/traces/${traceId}`);
    const found = [...(json["spans"] ?? [])];
    return found.some((span) => String(span["service"]) === "gateway" && String(span["parentSpanId"]) === "")
      ? found
      : undefined;
  });
  const byId = new Map(spans.map((span) => [String(span["spanId"]), span]));
  const path = (span: Json): string[] => {
    const parent = byId.get(String(span["parentSpanId"]));
    return [...(parent ? path(parent) : []), String(span["service"])];
  };

  await t.test("with one root and no gap", () => {
    const roots = spans.filter((span) => String(span["parentSpanId"]) === "");
    assert.equal(roots.length, 1, JSON.stringify(spans.map((span) => [span["service"], span["name"]])));
    for (const span of spans)
      if (String(span["parentSpanId"]) !== "")
        assert.ok(byId.has(String(span["parentSpanId"])), `${String(span["name"])} has no parent`);
  });
  await t.test("gateway → agent → plugin-host → plugin", () => {
    const plugin = spans.find((span) => String(span["service"]) === "plugin:clock");
    assert.ok(plugin, JSON.stringify(spans.map((span) => span["service"])));
    const services = path(plugin).filter((service, i, all) => service !== all[i - 1]);
    assert.deepEqual(services, ["gateway", "agent", "plugin-host", "plugin:clock"]);
  });
  await t.test("gateway → Redis", () => {
    const redis = spans.find((span) => /redis/i.test(String(span["name"])));
    assert.ok(redis);
    assert.deepEqual([...new Set(path(redis))], ["gateway"]);
  });
  await t.test("each span within its parent's time, with a name that is a template", () => {
    for (const span of spans) {
      assert.ok(Date.parse(String(span["endTime"])) >= Date.parse(String(span["startTime"])));
      assert.doesNotMatch(String(span["name"]), /s_[A-Za-z0-9]{8}|[0-9a-f]{16}/);
    }
  });
  await t.test("and nothing in it that anybody said, nor a token", () => {
    const text = JSON.stringify(spans);
    assert.doesNotMatch(text, new RegExp(CANARY));
    assert.ok(!text.includes(stack.token));
  });
  await t.test("a trace that nobody knows is empty, and a malformed id is refused", async () => {
    assert.deepEqual((await stack.request("GET", `/v1/traces/${"0".repeat(31)}1`)).json["spans"], []);
    assert.equal((await stack.request("GET", "/v1/traces/nonsense")).status, 400);
  });
});
