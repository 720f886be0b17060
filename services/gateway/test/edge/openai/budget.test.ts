// Token budgets on OpenAI's routes: what a model used counts, told by the agent's last event, streamed or not.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { RpcError, StatusCode } from "@warren/mesh";
import { type CompleteEvent, FinishReason } from "@warren/proto/warren/agent/v1/agent";
import { startRedis, waitUntil } from "@warren/testing";
import { parsePolicy } from "../../../src/limits/policy.ts";
import { connectRedis } from "../../../src/limits/redis-client.ts";
import { startGateway } from "../../support.ts";

/** 1,000 tokens an hour for each caller; 400 are reserved for a request whose use is not known yet. */
const policy = parsePolicy({
  limits: [
    {
      name: "tokens",
      algorithm: "window",
      key: "principal",
      limit: 1000,
      period: 3600,
      unit: "tokens",
      cost: 400,
      classes: ["chat"],
    },
  ],
});
const usage = { inputTokens: 120, outputTokens: 30, totalTokens: 150, model: "m", steps: 1 };
const text: CompleteEvent = { event: { $case: "text", value: { text: "Hi." } } };
const finished: CompleteEvent = { event: { $case: "finished", value: { reason: FinishReason.STOP, usage } } };

/** A gateway on a Redis of its own, before an agent that waits for `go` where it is given. */
async function start(t: TestContext, { fails = false, go }: { fails?: boolean; go?: Promise<void> } = {}) {
  const server = await startRedis(t);
  const redis = connectRedis(`unix://${server.path}`);
  const agent = {
    async *complete() {
      await go;
      if (fails) throw new RpcError(StatusCode.UNAVAILABLE, "The model cannot be reached");
      yield text;
      yield finished;
    },
  };
  // Redis has 20 ms in production; a machine that runs many tests at once may need more.
  const gateway = await startGateway(t, { redis, policy, redisTimeoutMs: 5000, handlers: { agent } });
  const ask = (path: string, body: object) => gateway.call("POST", path, { body: { model: "m", ...body } });
  const left = async (expected: number) =>
    waitUntil(`${expected} tokens left`, 5000, async () => {
      const question = { method: "POST", path: "/v1/chat/completions", principal: "operator" };
      const { json } = await gateway.call("POST", "/v1/limits:explain", { body: question });
      return (json["limits"] as { remaining: number }[])[0]?.remaining === expected || undefined;
    });
  /** Waits until no request holds a reservation. */
  const nothingHeld = () =>
    waitUntil("No reservation", 5000, async () => (await redis.keys("*:held")).length === 0 || undefined);
  return { ...gateway, ask, left, nothingHeld };
}

const messages = [{ role: "user", content: "Hi" }];

test("a request takes what the model used of the budget, streamed or not, by both of OpenAI's routes", async (t) => {
  const { ask, left } = await start(t);
  const first = await ask("/v1/chat/completions", { messages });
  assert.equal(first.status, 200, first.text);
  assert.match(first.headers.get("ratelimit") ?? "", /^"tokens";r=600;t=/, "reserved until the use is known");
  await left(850);
  assert.match((await ask("/v1/chat/completions", { messages, stream: true })).text, /\[DONE\]/);
  await left(700);
  assert.equal((await ask("/v1/responses", { input: "Hi" })).status, 200);
  await left(550);
  assert.match((await ask("/v1/responses", { input: "Hi", stream: true })).text, /response\.completed/);
  await left(400);
  assert.equal((await ask("/v1/chat/completions", { messages })).status, 200);
  await left(250);
  const denied = await ask("/v1/chat/completions", { messages });
  assert.equal(denied.status, 429, "400 cannot be reserved of 250");
  assert.equal((denied.json["error"] as { code: string }).code, "rate_limit_exceeded");
  assert.ok(Number(denied.headers.get("retry-after")) > 0);
  await left(250);
});

test("what no model used is given back: the agent failed before it said a word", async (t) => {
  const { ask, left } = await start(t, { fails: true });
  assert.equal((await ask("/v1/chat/completions", { messages })).status, 503);
  await left(1000);
});

test("a caller who leaves before the model has told stays charged as reserved", async (t) => {
  const { promise: go, resolve } = Promise.withResolvers<void>();
  t.after(() => resolve());
  const { url, operator, left, nothingHeld } = await start(t, { go });
  const leave = new AbortController();
  const gone = fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${operator}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "m", messages, stream: true }),
    signal: leave.signal,
  }).catch(() => "left");
  await left(600);
  leave.abort();
  assert.equal(await gone, "left");
  await nothingHeld();
  await left(600);
});
