import assert from "node:assert/strict";
import { kill } from "node:process";
import { test, type TestContext } from "node:test";
import { startRedis, waitUntil } from "@warren/testing";
import { startGateway, type TestGateway, type TestOptions } from "../support.ts";
import { defaultPolicy, parsePolicy } from "../../src/limits/policy.ts";
import { connectRedis } from "../../src/limits/redis-client.ts";

const tokenGrant = {
  accessToken: "a",
  tokenType: "Bearer",
  expiresIn: 600,
  refreshToken: "r",
  deviceId: "d",
  scopes: [],
};
const handlers = {
  agent: { listSessions: () => Promise.resolve({}), chat: () => Promise.resolve({ message: "x" }) },
  auth: {
    refreshToken: () => Promise.resolve(tokenGrant),
    startPairing: () => Promise.resolve({}),
    listPairings: () => Promise.resolve({}),
  },
};

/** Warnings and what came after them. */
function recorder(): { lines: string[]; log: NonNullable<TestOptions["log"]> } {
  const lines: string[] = [];
  const note = (_fields: object, text: string): void => void lines.push(text);
  return { lines, log: { error: note, warn: note, info: note, debug: () => {} } };
}

async function withRedis(
  t: TestContext,
  options: TestOptions = {},
): Promise<TestGateway & { server: Awaited<ReturnType<typeof startRedis>> }> {
  const server = await startRedis(t);
  const redis = connectRedis(`unix://${server.path}`);
  // Redis has 20 ms in production; a machine that runs many tests at once may need more.
  const gateway = await startGateway(t, { redis, handlers, redisTimeoutMs: 5000, ...options });
  return { ...gateway, server };
}

const gauge = async ({ gateway }: TestGateway): Promise<number | undefined> =>
  (await gateway.metrics.limiterDegraded.get()).values[0]?.value;

test("a request over its limit is 429 with the policy, and the headers say when to come back", async (t) => {
  const gateway = await withRedis(t, { policy: parsePolicy(defaultPolicy) });
  const chat = () => gateway.call("POST", "/v1/chat", { body: { message: "x" } });
  const statuses: number[] = [];
  for (let i = 0; i < 12; i++) statuses.push((await chat()).status);
  // A sliding window: what fell into the minute before may still count a little.
  assert.deepEqual(
    statuses.slice(0, 10),
    Array.from({ length: 10 }, () => 200),
  );
  assert.ok(
    statuses.slice(10).every((status) => status === 429),
    statuses.join(),
  );
  const denied = await chat();
  assert.equal(denied.headers.get("content-type"), "application/problem+json");
  assert.partialDeepStrictEqual(denied.json, {
    type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
    status: 429,
    code: "QUOTA_EXCEEDED",
    "violated-policies": ["chat"],
  });
  assert.equal(
    denied.headers.get("ratelimit-policy"),
    '"global";q=100;w=5, "ip";q=60;w=60, "principal";q=120;w=60, "chat";q=10;w=60',
  );
  const [, r, time] = /^"chat";r=(\d+);t=(\d+)$/.exec(denied.headers.get("ratelimit") ?? "") ?? [];
  const retryAfter = Number(denied.headers.get("retry-after"));
  assert.equal(r, "0");
  // The end of this minute, and the tenth of the next by which one of ten has faded.
  assert.ok(retryAfter >= Number(time) && retryAfter >= 1 && retryAfter <= 66, String(retryAfter));
  assert.equal(denied.headers.get("x-ratelimit-limit"), "10");
  const allowed = await gateway.call("GET", "/v1/sessions");
  assert.equal(allowed.status, 200, "another class has its own");
  assert.match(
    allowed.headers.get("ratelimit") ?? "",
    /^"global";r=\d+;t=\d+, "ip";r=\d+;t=\d+, "principal";r=\d+;t=\d+$/,
  );
  assert.equal(allowed.headers.get("retry-after"), null);
});

test("guessing tokens and paths is limited by address", async (t) => {
  const policy = parsePolicy({ limits: [{ name: "ip", algorithm: "window", key: "ip", limit: 6, period: 3600 }] });
  const gateway = await withRedis(t, { policy });
  const statuses: number[] = [];
  for (let i = 0; i < 4; i++) {
    statuses.push(
      (await gateway.call("GET", "/v1/sessions", { headers: { authorization: `Bearer guess${i}` } })).status,
    );
    statuses.push((await gateway.call("GET", `/guess/${i}`, { anonymous: true })).status);
  }
  assert.deepEqual(statuses, [401, 404, 401, 404, 401, 404, 429, 429]);
  for (let i = 0; i < 5; i++)
    assert.equal((await gateway.call("GET", "/health/ready")).status, 200, "probes are not limited");
  const guess = await gateway.call("GET", "/health?detailed=true", { headers: { authorization: "Bearer guess" } });
  assert.equal(guess.status, 429, "health is no place to try tokens at");
});

test("an address that a proxy vouches for is limited on its own, one that a client claims is not", async (t) => {
  const policy = parsePolicy({ limits: [{ name: "ip", algorithm: "window", key: "ip", limit: 1, period: 3600 }] });
  const ask = async (gateway: TestGateway, from: string): Promise<number> =>
    (await gateway.call("GET", "/v1/sessions", { headers: { "x-forwarded-for": from } })).status;
  const behind = await withRedis(t, { policy, config: { trustProxy: ["127.0.0.0/8"] } });
  assert.deepEqual(
    [await ask(behind, "192.0.2.1"), await ask(behind, "192.0.2.2"), await ask(behind, "192.0.2.1")],
    [200, 200, 429],
  );
  assert.equal(
    await ask(behind, "198.51.100.9, 192.0.2.1"),
    429,
    "what the client wrote before the proxy counts for nothing",
  );
  const bare = await withRedis(t, { policy });
  assert.deepEqual([await ask(bare, "192.0.2.1"), await ask(bare, "192.0.2.2")], [200, 429]);
});

test("a shadow limit counts and denies nobody", async (t) => {
  const policy = parsePolicy({
    limits: [{ name: "trial", algorithm: "window", key: "ip", limit: 1, period: 3600, shadow: true }],
  });
  const gateway = await withRedis(t, { policy });
  for (let i = 0; i < 3; i++) {
    const { status, headers } = await gateway.call("GET", "/v1/sessions");
    assert.deepEqual([status, headers.get("ratelimit")], [200, null]);
  }
  const { text } = await gateway.call("GET", "/metrics");
  assert.match(text, /warren_limit_decisions_total\{policy="trial",outcome="shadow_denied"\} 2/);
});

for (const [how, away, back] of [
  [
    "hangs",
    (server: Awaited<ReturnType<typeof startRedis>>) => Promise.resolve(kill(server.pid(), "SIGSTOP")),
    (server: Awaited<ReturnType<typeof startRedis>>) => Promise.resolve(kill(server.pid(), "SIGCONT")),
  ],
  [
    "is killed and started again empty",
    (server: Awaited<ReturnType<typeof startRedis>>) => server.kill(),
    (server: Awaited<ReturnType<typeof startRedis>>) => server.start(),
  ],
] as const)
  test(`while Redis ${how}, ordinary routes go on by a local count, guarded ones answer 503`, async (t) => {
    const { lines, log } = recorder();
    const policy = parsePolicy({ limits: [{ name: "ip", algorithm: "window", key: "ip", limit: 40, period: 3600 }] });
    const gateway = await withRedis(t, { log, policy, redisTimeoutMs: 20 });
    const { call, server } = gateway;
    assert.equal((await gauge(gateway)) ?? 0, 0);
    await away(server);
    const started = performance.now();
    const first = await call("GET", "/v1/sessions");
    assert.deepEqual(
      [first.status, first.headers.get("ratelimit")],
      [200, null],
      "a count of this gateway alone is told to nobody",
    );
    assert.ok(performance.now() - started < 500, "a limiter that hangs does not make the gateway hang");
    for (const [method, path, body] of [
      ["POST", "/v1/token", { refreshToken: "r" }],
      ["POST", "/v1/pairing", { deviceName: "x", publicKey: "{}" }],
      ["GET", "/v1/pairing", undefined],
    ] as const) {
      const guarded = await call(method, path, { body });
      assert.deepEqual(
        [guarded.status, guarded.json["code"], guarded.headers.get("retry-after")],
        [503, "LIMITS_UNAVAILABLE", "1"],
        path,
      );
    }
    const statuses: number[] = [];
    for (let i = 0; i < 45; i++) statuses.push((await call("GET", "/v1/sessions")).status);
    assert.ok(statuses.includes(429) && statuses[0] === 200, "the local count limits, too");
    assert.equal(await gauge(gateway), 1);
    assert.equal((await call("GET", "/health")).json["status"], "degraded");
    assert.equal((await call("GET", "/health/ready")).status, 200);
    await back(server);
    await waitUntil("The return", 10_000, async () => (await gauge(gateway)) === 0 || undefined);
    const again = await waitUntil("A shared count", 10_000, async () => {
      const answer = await call("GET", "/v1/sessions");
      return answer.headers.get("ratelimit") === null ? undefined : answer;
    });
    assert.equal(again.status, 200);
    assert.ok([200, 503].includes((await call("POST", "/v1/token", { body: { refreshToken: "r" } })).status));
    const told = lines.filter((line) => /Redis/.test(line));
    assert.deepEqual(told.slice(0, 2), [
      "Redis does not answer: limits are counted by each gateway for itself; pairing and tokens wait",
      "Redis answers again: limits are shared",
    ]);
  });

test("a gateway starts without its Redis and takes it up when it comes", async (t) => {
  const server = await startRedis(t);
  await server.kill();
  const gateway = await startGateway(t, { redis: connectRedis(`unix://${server.path}`), handlers });
  assert.equal(await gauge(gateway), 1);
  assert.equal((await gateway.call("GET", "/v1/sessions")).status, 200);
  assert.equal((await gateway.call("POST", "/v1/token", { body: { refreshToken: "r" } })).status, 503);
  await server.start();
  await waitUntil("The return", 10_000, async () => (await gauge(gateway)) === 0 || undefined);
});

test("without Redis limits are counted in memory, and the log and the health say so", async (t) => {
  const { lines, log } = recorder();
  const gateway = await startGateway(t, { log, handlers, policy: parsePolicy(defaultPolicy) });
  assert.ok(lines.some((line) => /WARREN_REDIS_URL is not set/.test(line)));
  assert.equal((await gateway.call("GET", "/health")).json["status"], "degraded");
  const statuses: number[] = [];
  for (let i = 0; i < 11; i++)
    statuses.push((await gateway.call("POST", "/v1/token", { body: { refreshToken: "r" }, anonymous: true })).status);
  assert.deepEqual(statuses, [...Array.from({ length: 10 }, () => 200), 429]);
  const denied = await gateway.call("POST", "/v1/token", { body: { refreshToken: "r" }, anonymous: true });
  assert.ok(Number(denied.headers.get("retry-after")) >= 1);
  assert.equal((await gateway.call("GET", "/v1/sessions")).headers.get("ratelimit"), null);
});
