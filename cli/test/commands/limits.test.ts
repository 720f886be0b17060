import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { type FakeGateway, json, type Route, startFakeGateway } from "../support/fake-gateway.ts";
import { writeTestProfile } from "../support/profile.ts";
import { makeHome } from "../support/warren.ts";

const limits = [
  {
    name: "global",
    algorithm: "bucket",
    key: "global",
    unit: "requests",
    limit: 20,
    period: 1,
    burst: 100,
    prefix: 64,
    shadow: false,
    reserve: 5,
  },
  {
    name: "turns",
    algorithm: "concurrency",
    key: "principal",
    unit: "requests",
    limit: 2,
    period: 0,
    burst: 2,
    prefix: 64,
    shadow: true,
    reserve: 0,
    classes: ["chat"],
  },
  {
    name: "ip-48",
    algorithm: "window",
    key: "ip",
    unit: "requests",
    limit: 960,
    period: 60,
    burst: 960,
    prefix: 48,
    shadow: false,
    reserve: 0,
  },
];
const shown = { version: "abc", origin: "mesh", since: "2026-01-01T00:00:00Z", gateways: 3, limits };
const route = { template: "/v1/chat", limitClass: "chat", scope: "chat" };

async function start(
  t: TestContext,
  routes: Record<string, Route>,
): Promise<{ gateway: FakeGateway; home: Awaited<ReturnType<typeof makeHome>> }> {
  const gateway = await startFakeGateway(t, routes);
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  return { gateway, home };
}

test("the limits in force are shown, with where they come from and what is wrong", async (t) => {
  const troubled = { ...shown, degraded: "Redis does not answer", refused: { origin: "file", why: "no limits" } };
  const { home } = await start(t, { "GET /v1/limits": json(troubled) });
  const { code, stdout, stderr } = await home.warren(["limits"]);
  assert.equal(code, 0);
  assert.match(stdout, /Version abc from the mesh .*; 3 gateways/);
  assert.match(stdout, /global +global +20\/s, up to 100 at once +all +enforced, leased/);
  assert.match(stdout, /turns +principal +2 at once +chat +shadow/);
  assert.match(stdout, /ip-48 +ip \(IPv6 \/48\) +960\/min/);
  assert.match(stderr, /Redis does not answer/);
  assert.match(stderr, /not taken: an edit of file: no limits/);
  assert.deepEqual(JSON.parse((await home.warren(["limits", "show", "--json"])).stdout), troubled);
});

test("a request's limits are explained", async (t) => {
  const explained = {
    route,
    verdict: "denied",
    shared: true,
    limits: [
      {
        name: "chat",
        meets: true,
        why: "counted by principal device:d",
        shadow: false,
        allowed: false,
        remaining: 0,
        retryMs: 2500,
      },
      { name: "pairing", meets: false, why: "holds for routes of class pairing", shadow: false },
    ],
  };
  const { gateway, home } = await start(t, { "POST /v1/limits:explain": json(explained) });
  const words = ["limits", "explain", "post", "/v1/chat", "--principal", "device:d", "--address", "192.0.2.1"];
  const { code, stdout } = await home.warren(words);
  assert.equal(code, 0);
  assert.match(stdout, /POST \/v1\/chat, class chat/);
  assert.match(stdout, /chat +denies, 3 s +0 +counted by principal device:d/);
  assert.match(stdout, /pairing +does not hold +- +holds for routes of class pairing/);
  assert.match(stdout, /It would be denied\./);
  assert.deepEqual(gateway.bodies("POST /v1/limits:explain"), [
    { method: "POST", path: "/v1/chat", principal: "device:d", address: "192.0.2.1" },
  ]);
  assert.deepEqual(JSON.parse((await home.warren([...words, "--json"])).stdout), explained);
  assert.equal((await home.warren(["limits", "explain", "BREW", "/v1/chat"])).code, 2);
});

test("a run of requests is tried out, with the limits of a file", async (t) => {
  const tested = {
    route,
    admitted: 4,
    denied: 26,
    first: { request: 5, limits: ["tight"], retryMs: 1000 },
    limits: { tight: { denied: 26, remaining: 0 } },
  };
  const { gateway, home } = await start(t, { "POST /v1/limits:test": json(tested) });
  const file = join(home.folder, "limits.json");
  await writeFile(file, '{"limits":[]}');
  const { code, stdout } = await home.warren([
    "limits",
    "test",
    "GET",
    "/v1/chat",
    "--count",
    "30",
    "--rate",
    "2",
    "--policy",
    file,
  ]);
  assert.equal(code, 0);
  assert.match(stdout, /4 of 30 pass; request 5 is the first denied, by tight: it could come again after 1 s\./);
  assert.deepEqual(gateway.bodies("POST /v1/limits:test"), [
    { method: "GET", path: "/v1/chat", count: 30, rate: 2, policy: { limits: [] } },
  ]);
  await writeFile(file, "{");
  assert.equal((await home.warren(["limits", "test", "GET", "/v1/chat", "--policy", file])).code, 2);
  assert.equal((await home.warren(["limits", "test", "GET", "/v1/chat", "--count", "many"])).code, 2);
});

test("limits are applied and taken back", async (t) => {
  const { gateway, home } = await start(t, {
    "PUT /v1/limits": json({ version: "def", limits: 0 }),
    "DELETE /v1/limits": json({}),
  });
  const file = join(home.folder, "limits.json");
  await writeFile(file, '{"limits":[]}');
  assert.match((await home.warren(["limits", "apply", file, "--yes"])).stdout, /Version def is in force/);
  assert.deepEqual(gateway.bodies("PUT /v1/limits"), [{ limits: [] }]);
  assert.equal((await home.warren(["limits", "reset", "--yes"])).code, 0);
});
