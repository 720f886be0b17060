import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { startRedis, waitUntil } from "@warren/testing";
import { parsePolicy, type PolicyInput } from "../../src/limits/policy.ts";
import { connectRedis } from "../../src/limits/redis-client.ts";
import { addCredential, send, startGateway, type TestOptions } from "../support.ts";

type Usage = { totalTokens: number };
const turns = { tokens: 300 };
const handlers: TestOptions["handlers"] = {
  agent: {
    listSessions: () => Promise.resolve({}),
    chat: ({ message }) =>
      message === "fail"
        ? Promise.reject(new Error("no model"))
        : Promise.resolve({ message, usage: { totalTokens: turns.tokens } as Usage }),
    async *streamChat({ message }) {
      yield { sequence: 1, event: { $case: "text" as const, value: { text: "hi" } } };
      await Promise.resolve();
      const completed = { message, usage: { totalTokens: turns.tokens } };
      yield { sequence: 2, event: { $case: "completed" as const, value: completed } };
    },
  },
};

async function withRedis(t: TestContext, options: TestOptions = {}) {
  const server = await startRedis(t);
  const connect = () => connectRedis(`unix://${server.path}`);
  const own = { handlers, redisTimeoutMs: 5000, policy: undefined, ...options } as TestOptions;
  const gateway = await startGateway(t, { redis: connect(), ...own });
  return { ...gateway, connect, own };
}

const limits = (...entries: PolicyInput["limits"]): PolicyInput => ({ limits: entries });

test("limits change for every gateway at once when they are put into the mesh, and what cannot be meant changes nothing", async (t) => {
  const lines: [fields: Record<string, unknown>, text: string][] = [];
  const note = (fields: object, text: string): void => void lines.push([fields as Record<string, unknown>, text]);
  const log = { error: note, warn: note, info: note, debug: () => {} };
  const { call, connect, own, nats, operator } = await withRedis(t, { log });
  const second = await startGateway(t, { redis: connect(), ...own, nats });
  const names = async (url?: string): Promise<string[]> => {
    const { json } = url
      ? await send(`${url}/v1/limits`, "GET", { authorization: `Bearer ${operator}` })
      : await call("GET", "/v1/limits");
    return (json["limits"] as { name: string }[]).map(({ name }) => name);
  };
  assert.ok((await names()).includes("pairing"), "the defaults");

  const wanted = limits({ name: "ours", algorithm: "window", key: "ip", limit: 500, period: 60 });
  const put = await call("PUT", "/v1/limits", { body: wanted });
  assert.deepEqual([put.status, put.json["version"]], [200, parsePolicy(wanted).version]);
  for (const url of [undefined, second.url])
    await waitUntil("The change", 5000, async () => (await names(url)).join() === "ours" || undefined);
  assert.equal((await call("GET", "/v1/limits")).json["origin"], "mesh");
  const change = lines.findLast(([, text]) => /limits are now/.test(text));
  assert.deepEqual(change?.[0]["added"], ["ours"]);
  assert.ok(((change?.[0]["removed"] ?? []) as string[]).includes("pairing"));

  const refused = await call("PUT", "/v1/limits", {
    body: { limits: [{ ...wanted.limits[0], period: -1, burst: 5 }] },
  });
  assert.equal(refused.status, 400);
  assert.deepEqual(
    (refused.json["errors"] as { field: string }[]).map(({ field }) => field),
    ["limits.0.period", "limits.0.burst"],
  );
  // Whoever writes to the bucket by other means is not checked beforehand.
  const bucket = await (
    await nats.connect("gateway")
  ).kv("gateway_config", {
    encode: (text: string) => Buffer.from(text),
    decode: String,
  });
  await bucket.put("limits", '{"limits": [{"name": "x"}]}');
  await waitUntil("The refusal", 5000, async () => (await call("GET", "/v1/limits")).json["refused"]);
  assert.deepEqual(await names(), ["ours"], "the last good one stays");
  const told = lines.findLast(([, text]) => /cannot be meant/.test(text));
  assert.match(String(told?.[0]["why"]), /algorithm/);

  assert.equal((await call("DELETE", "/v1/limits")).status, 200);
  await waitUntil("The defaults", 5000, async () => (await names()).includes("pairing") || undefined);
});

test("a limits file is read again when it changes, and a bad edit keeps the last good one", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "warren-limits-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const limitsFile = join(folder, "limits.json");
  const write = (name: string): void =>
    writeFileSync(limitsFile, JSON.stringify(limits({ name, algorithm: "window", key: "ip", limit: 500, period: 60 })));
  write("first");
  const { call } = await withRedis(t, { config: { limitsFile } });
  const shown = async (): Promise<Record<string, unknown>> => (await call("GET", "/v1/limits")).json;
  assert.partialDeepStrictEqual(await shown(), { origin: "file", limits: [{ name: "first" }] });
  writeFileSync(limitsFile, "{");
  await waitUntil("The refusal", 10_000, async () => (await shown())["refused"]);
  assert.partialDeepStrictEqual(await shown(), { limits: [{ name: "first" }] });
  write("second");
  await waitUntil("The change", 10_000, async () => {
    const [first] = (await shown())["limits"] as { name: string }[];
    return first?.name === "second" || undefined;
  });
  assert.equal((await shown())["refused"], undefined);
});

test("a question is answered with the limits that a request meets, those it does not, and why", async (t) => {
  const { call, url, auth } = await withRedis(t);
  for (let i = 0; i < 3; i++) await call("POST", "/v1/chat", { body: { message: "hi" } });
  const question = { method: "POST", path: "/v1/chat", principal: "operator", tenant: "default", address: "127.0.0.1" };
  const { status, json } = await call("POST", "/v1/limits:explain", { body: question });
  assert.equal(status, 200);
  assert.partialDeepStrictEqual(json, {
    verdict: "allowed",
    shared: true,
    route: { template: "/v1/chat", limitClass: "chat" },
  });
  const found = new Map(
    (json["limits"] as { name: string }[]).map((each) => [each.name, each as Record<string, unknown>]),
  );
  assert.partialDeepStrictEqual(found.get("chat"), {
    meets: true,
    why: "routes of class chat, counted by principal operator",
    remaining: 7,
  });
  assert.deepEqual(found.get("pairing"), {
    name: "pairing",
    meets: false,
    why: "holds for routes of class pairing; this one has chat",
    shadow: false,
  });
  assert.match(String(found.get("ip-48")?.["why"]), /127\.0\.0\.1 is in none/);
  const again = await call("POST", "/v1/limits:explain", { body: question });
  const chat = (again.json["limits"] as Record<string, unknown>[]).find((each) => each["name"] === "chat");
  assert.equal(chat?.["remaining"], 7, "asking counts nothing");

  const trial = { ...question, count: 30, rate: 1 };
  const tried = await call("POST", "/v1/limits:test", { body: trial });
  assert.partialDeepStrictEqual(tried.json, { admitted: 10, denied: 20, first: { request: 11, limits: ["chat"] } });
  const policy = limits({ name: "tight", algorithm: "bucket", key: "global", limit: 1, period: 1, burst: 4 });
  const other = await call("POST", "/v1/limits:test", { body: { ...trial, rate: 0, policy } });
  assert.partialDeepStrictEqual(other.json, { admitted: 4, denied: 26, version: parsePolicy(policy).version });
  const bad = await call("POST", "/v1/limits:test", { body: { ...trial, policy: { limits: [{}] } } });
  assert.equal(bad.status, 400);
  assert.match(JSON.stringify(bad.json["errors"]), /policy\.limits\.0\.name/);
  for (const body of [{}, { method: "GET", path: "v1" }, { ...question, address: "me" }, { ...question, more: 1 }])
    assert.equal((await call("POST", "/v1/limits:explain", { body })).status, 400, JSON.stringify(body));

  const reader = await addCredential(auth, { scopes: ["limits:read"], kind: "api-key" });
  const as = (method: string, path: string, body?: unknown) =>
    send(url + path, method, { authorization: `Bearer ${reader}`, "content-type": "application/json" }, body);
  await waitUntil("The watch", 5000, async () => (await as("GET", "/v1/limits")).status === 200 || undefined);
  assert.equal((await as("PUT", "/v1/limits", limits())).status, 403);
  assert.equal((await as("DELETE", "/v1/limits")).status, 403);
});

test("a token budget reserves before a turn, counts what the agent says it used, and gives back what failed", async (t) => {
  const budget = {
    name: "tokens",
    algorithm: "window",
    key: "principal",
    limit: 1000,
    period: 3600,
    unit: "tokens",
    cost: 400,
    classes: ["chat"],
  } satisfies PolicyInput["limits"][number];
  const { call } = await withRedis(t, { policy: parsePolicy(limits(budget)) });
  const chat = (message: string, accept = "application/json") =>
    call("POST", "/v1/chat", { body: { message }, headers: { accept } });
  const left = async (): Promise<number> => {
    const question = { method: "POST", path: "/v1/chat", principal: "operator" };
    const { json } = await call("POST", "/v1/limits:explain", { body: question });
    return (json["limits"] as { remaining: number }[])[0]?.remaining ?? -1;
  };
  const settled = (expected: number) =>
    waitUntil(`${expected} left`, 5000, async () => (await left()) === expected || undefined);
  const first = await chat("hi");
  assert.equal(first.headers.get("ratelimit-policy"), '"tokens";q=1000;qu="tokens";w=3600');
  assert.match(first.headers.get("ratelimit") ?? "", /^"tokens";r=600;t=/);
  await settled(700);
  assert.ok((await chat("fail")).status >= 500);
  await settled(700);
  assert.match((await chat("hi", "text/event-stream")).text, /completed/);
  await settled(400);
  turns.tokens = 900;
  t.after(() => (turns.tokens = 300));
  assert.equal((await chat("hi")).status, 200);
  await settled(0);
  const denied = await chat("hi");
  assert.equal(denied.status, 429);
  assert.deepEqual(denied.json["violated-policies"], ["tokens"]);
});

test("a place is held while a request runs, at whichever gateway, and free when its client has gone", async (t) => {
  const entry = {
    name: "turns",
    algorithm: "concurrency",
    key: "principal",
    limit: 2,
    classes: ["chat"],
  } satisfies PolicyInput["limits"][number];
  let waiting: (() => void)[] = [];
  const slow = () => new Promise<{ message: string }>((resolve) => waiting.push(() => resolve({ message: "x" })));
  const { call, connect, own, nats, operator } = await withRedis(t, {
    policy: parsePolicy(limits(entry)),
    handlers: { agent: { chat: slow, listSessions: () => Promise.resolve({}) } },
  });
  const { handlers: _, ...rest } = own;
  const second = await startGateway(t, { redis: connect(), ...rest, nats });
  const chat = (url?: string, signal?: AbortSignal) =>
    url
      ? fetch(`${url}/v1/chat`, {
          method: "POST",
          headers: { authorization: `Bearer ${operator}`, "content-type": "application/json" },
          body: '{"message":"x"}',
          ...(signal ? { signal } : {}),
        })
      : call("POST", "/v1/chat", { body: { message: "x" } });
  const leave = new AbortController();
  const running = [chat(), chat(second.url, leave.signal).catch(() => undefined)];
  await waitUntil("Both to run", 5000, () => Promise.resolve(waiting.length === 2 || undefined));
  const denied = await call("POST", "/v1/chat", { body: { message: "x" } });
  assert.equal(denied.status, 429);
  assert.equal(denied.headers.get("ratelimit-policy"), '"turns";q=2;qu="concurrent-requests"');
  assert.equal(denied.headers.get("retry-after"), "1");
  assert.equal((await call("GET", "/v1/sessions")).status, 200, "only what runs is counted");
  leave.abort();
  const third = await waitUntil("A free place", 5000, async () => {
    const before = waiting.length;
    const attempt = call("POST", "/v1/chat", { body: { message: "x" } });
    const answered = await Promise.race([
      attempt,
      waitUntil("It", 5000, () => Promise.resolve(waiting.length > before || undefined)),
    ]);
    return answered === true ? { attempt } : undefined;
  });
  for (const finish of waiting) finish();
  waiting = [];
  await Promise.all([...running, third.attempt]);
});
