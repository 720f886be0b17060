import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { type CallContext, protoCodec, RpcError, StatusCode } from "@warren/mesh";
import { type CallToolRequest, PluginState, PluginStatus, type Tool } from "@warren/proto/warren/plugins/v1/plugins";
import { startNats, waitUntil } from "@warren/testing";
import { parsePolicy } from "../../../src/limits/policy.ts";
import { addCredential, startGateway, type TestOptions } from "../../support.ts";

const VERSIONS = ["2026-07-28", "2025-11-25"] as const;
type Answer = { content?: object[]; structuredContent?: object; isError?: boolean };
type Handler = (request: CallToolRequest, ctx: CallContext) => Promise<Answer>;

const echo: Handler = ({ arguments: args }) =>
  Promise.resolve({ content: [{ type: "text", text: JSON.stringify(args) }], structuredContent: { args } });

/** A gateway before plugins that answer as the test says. */
async function start(t: TestContext, does: Handler = echo, more: TestOptions = {}) {
  const nats = await startNats(t);
  const asked: (CallToolRequest & { principal: string })[] = [];
  const gateway = await startGateway(t, {
    nats,
    handlers: {
      "plugin-host": {
        callTool: (request, ctx) => {
          asked.push({ ...request, principal: ctx.caller.principal });
          return does(request, ctx) as Promise<never>;
        },
      },
    },
    ...more,
  });
  const statuses = await (await nats.connect("plugin-host")).kv("plugin_status", protoCodec(PluginStatus));
  const run = async (pluginId: string, tools: readonly Partial<Tool>[], running = true): Promise<void> => {
    const state = running ? PluginState.RUNNING : PluginState.STOPPED;
    const status = { pluginId, hostId: "h1", state, tools: [...tools], updateTime: new Date() };
    await statuses.put(`${pluginId}.h1`, PluginStatus.fromPartial(status));
  };
  const connect = async (version: string, token = gateway.operator): Promise<Client> => {
    const mode = version === "2025-11-25" ? "legacy" : { pin: version };
    const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode } });
    const headers = { authorization: `Bearer ${token}` };
    await client.connect(
      new StreamableHTTPClientTransport(new URL(`${gateway.url}/mcp`), { requestInit: { headers } }),
    );
    t.after(() => client.close());
    return client;
  };
  const names = async (client: Client): Promise<string[]> =>
    (await client.listTools(undefined, { cacheMode: "bypass" })).tools.map((tool) => tool.name);
  const untilOffered = (client: Client, name: string): Promise<true> =>
    waitUntil(`${name} offered`, 10_000, async () => ((await names(client)).includes(name) ? true : undefined));
  return { ...gateway, asked, run, connect, names, untilOffered };
}

const textOf = (result: { content: readonly object[] }): string =>
  String((result.content[0] as { text?: unknown } | undefined)?.text);

for (const version of VERSIONS)
  test(`${version}: the tools of running plugins are listed and called in the caller's name`, async (t) => {
    const { run, connect, untilOffered, asked, names } = await start(t);
    await run("clock", [
      {
        name: "get.time",
        title: "Time",
        description: "Tells the time.",
        inputSchema: { type: "object", properties: { zone: { type: "string" } }, required: ["zone"] },
        outputSchema: { type: "object", properties: { args: { type: "object" } } },
      },
    ]);
    await run("sleeper", [{ name: "nap" }], false);
    const client = await connect(version);
    await untilOffered(client, "clock__get_time");
    assert.equal(client.getServerVersion()?.name, "warren");
    assert.equal(client.getNegotiatedProtocolVersion(), version);
    const { tools } = await client.listTools();
    assert.deepEqual(await names(client), ["clock__get_time"]);
    assert.deepEqual(tools[0], {
      name: "clock__get_time",
      title: "Time",
      description: "Tells the time.",
      inputSchema: { type: "object", properties: { zone: { type: "string" } }, required: ["zone"] },
      outputSchema: { type: "object", properties: { args: { type: "object" } }, required: [] },
    });
    const result = await client.callTool({ name: "clock__get_time", arguments: { zone: "UTC" } });
    assert.equal(textOf(result), '{"zone":"UTC"}');
    assert.deepEqual(result.structuredContent, { args: { zone: "UTC" } });
    assert.deepEqual(
      asked.map(({ pluginId, tool, principal }) => [pluginId, tool, principal]),
      [["clock", "get.time", "operator"]],
    );
  });

for (const version of VERSIONS)
  test(`${version}: a call that fails is a result that says so; a tool that is not there, an error`, async (t) => {
    const { run, connect, untilOffered } = await start(t, ({ tool }) => {
      if (tool === "gone")
        throw new RpcError(StatusCode.UNAVAILABLE, "The plugin crashed", { reason: "PLUGIN_CRASHED" });
      if (tool === "broken") throw new Error("canary-internal");
      if (tool === "odd") return Promise.resolve({ content: [{ type: 7, text: {} }] });
      return Promise.resolve({ content: [{ type: "text", text: "no such city" }], isError: true });
    });
    await run("p", [{ name: "gone" }, { name: "broken" }, { name: "odd" }, { name: "sorry" }]);
    const client = await connect(version);
    await untilOffered(client, "p__gone");
    const call = (name: string) => client.callTool({ name, arguments: {} });
    for (const [name, text] of [
      ["p__gone", /The plugin crashed/],
      ["p__broken", /Internal error/],
      ["p__odd", /no result of a tool/],
      ["p__sorry", /no such city/],
    ] as const) {
      const result = await call(name);
      assert.equal(result.isError, true, name);
      assert.match(textOf(result), text);
      assert.doesNotMatch(JSON.stringify(result), /canary/);
    }
    await assert.rejects(call("p__nothing"), { code: -32_602 });
    await assert.rejects(call("gone"), { code: -32_602 });
  });

test("what hostile plugins call their tools and schemas spoils nobody's list", async (t) => {
  const { run, connect, untilOffered, asked } = await start(t);
  const long = "x".repeat(128);
  await run("evil", [
    { name: "good", description: "d".repeat(100_000) },
    { name: "clock__get_time" },
    { name: "a.b" },
    { name: "a_b" },
    { name: long },
    { name: "two words" },
    { name: "tool\n\u202Ename" },
    { name: "../../etc" },
    { name: "" },
    { name: "wrong", inputSchema: { type: "string", properties: 7, required: "all" }, outputSchema: { type: "array" } },
    { name: "worse", inputSchema: { properties: { a: 1, b: { type: "string", "x-mcp-header": "Authorization" } } } },
    { name: "huge", inputSchema: { properties: { a: { description: "y".repeat(100_000) } } } },
  ]);
  await run("clock", [{ name: "get_time" }]);
  for (const version of VERSIONS) {
    const client = await connect(version);
    await untilOffered(client, "clock__get_time");
    const { tools } = await client.listTools();
    const names = tools.map((tool) => tool.name);
    assert.equal(new Set(names).size, names.length);
    assert.ok(names.every((name) => /^[A-Za-z0-9_-]{1,64}$/.test(name)));
    const known = names.filter((name) => !/_[0-9a-f]{8}$/.test(name)).sort();
    assert.deepEqual(known, [
      "clock__get_time",
      "evil__a_b",
      "evil__clock__get_time",
      "evil__good",
      "evil__huge",
      "evil__worse",
      "evil__wrong",
    ]);
    assert.equal(names.length, known.length + 2, "a name that is long or taken gets one of its own");
    const listed = JSON.stringify(tools);
    assert.ok(listed.length < 20_000);
    assert.doesNotMatch(listed, /x-mcp-header/);
    await client.callTool({ name: "clock__get_time", arguments: {} });
    assert.equal(asked.at(-1)?.pluginId, "clock");
  }
});

for (const version of VERSIONS)
  test(`${version}: a call that goes on gives signs of life, and ends with the client who leaves`, async (t) => {
    const cancelled = Promise.withResolvers<void>();
    const { run, connect, untilOffered } = await start(
      t,
      async (_request, ctx) => {
        await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
        cancelled.resolve();
        throw new RpcError(StatusCode.CANCELLED, "ended");
      },
      { mcpProgressMs: 20 },
    );
    await run("slow", [{ name: "wait" }]);
    const client = await connect(version);
    await untilOffered(client, "slow__wait");
    const stop = new AbortController();
    const seen: (string | undefined)[] = [];
    const onprogress = ({ message }: { message?: string | undefined }): void => {
      if (seen.push(message) === 3) stop.abort();
    };
    await assert.rejects(client.callTool({ name: "slow__wait", arguments: {} }, { signal: stop.signal, onprogress }));
    assert.deepEqual(seen.slice(0, 3), Array(3).fill("slow__wait still runs"));
    if (version === "2025-11-25") await client.close();
    await cancelled.promise;
  });

test("2025-11-25: a call is taken back by a message, whichever gateway gets it, and by its own client alone", async (t) => {
  const running: CallContext[] = [];
  const { run, connect, untilOffered, call, operator, nats, auth } = await start(t, async (_request, ctx) => {
    running.push(ctx);
    await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
    throw new RpcError(StatusCode.CANCELLED, "ended");
  });
  await run("slow", [{ name: "wait" }]);
  await untilOffered(await connect("2025-11-25"), "slow__wait");
  const other = await startGateway(t, { nats });
  const post = (to: typeof call, message: object, session?: string, token = operator) =>
    to("POST", "/mcp", {
      body: { jsonrpc: "2.0", ...message },
      headers: {
        authorization: `Bearer ${token}`,
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": "2025-11-25",
        ...(session === undefined ? {} : { "mcp-session-id": session }),
      },
    });
  const clientInfo = { name: "raw", version: "1" };
  const hello = {
    id: 0,
    method: "initialize",
    params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo },
  };
  const session = (await post(call, hello)).headers.get("mcp-session-id") ?? "";
  assert.match(session, /^[0-9a-f-]{36}$/);
  const answer = post(call, { id: 7, method: "tools/call", params: { name: "slow__wait", arguments: {} } }, session);
  await waitUntil("the call", 10_000, () => running[0]);
  const cancel = (id: unknown) => ({ method: "notifications/cancelled", params: { requestId: id } });
  const stranger = await addCredential(auth, { scopes: ["plugins:call"], principal: "key:stranger" });
  for (const [message, from, token] of [
    [cancel(8), session, operator],
    [cancel("7"), session, operator],
    [cancel(7), "another-session", operator],
    [cancel(7), undefined, operator],
    [cancel(7), session, stranger],
    [cancel({ $ne: 1 }), session, operator],
  ] as const)
    await post(other.call, message, from, token);
  assert.equal(running[0]?.signal.aborted, false);
  await post(other.call, cancel(7), session);
  await answer.catch(() => undefined);
  await waitUntil("the end of the call", 10_000, () => running[0]?.signal.aborted || undefined);
});

test("2026-07-28: whoever listens is told when the tools change, until the gateway stops", async (t) => {
  const { run, connect, names, gateway } = await start(t);
  const client = await connect("2026-07-28");
  let told = 0;
  client.setNotificationHandler("notifications/tools/list_changed", () => void (told += 1));
  const listening = await client.listen({ toolsListChanged: true });
  await run("clock", [{ name: "get_time" }]);
  await waitUntil("the news", 10_000, () => told || undefined);
  assert.deepEqual(await names(client), ["clock__get_time"]);
  // The same word again is no news.
  await run("clock", [{ name: "get_time" }]);
  await run("text", [{ name: "reverse" }]);
  await waitUntil("more news", 10_000, () => (told > 1 ? true : undefined));
  assert.equal(told, 2);
  const started = performance.now();
  await gateway.drain(60_000);
  assert.ok(performance.now() - started < 30_000, "a stop does not wait for who listens");
  await listening.closed;
});

test("2026-07-28: whoever listens does so as long as the token holds", async (t) => {
  const { call, auth } = await start(t);
  const version = "2026-07-28";
  const method = "subscriptions/listen";
  const _meta = {
    "io.modelcontextprotocol/protocolVersion": version,
    "io.modelcontextprotocol/clientInfo": { name: "raw", version: "1" },
    "io.modelcontextprotocol/clientCapabilities": {},
  };
  const body = { jsonrpc: "2.0", id: 1, method, params: { _meta, notifications: { toolsListChanged: true } } };
  const accept = "application/json, text/event-stream";
  // On a slow machine a short-lived token ends before it is used: then one that lives longer is.
  for (const lifeMs of [2_000, 10_000, 40_000]) {
    const token = await addCredential(auth, { scopes: ["plugins:call"], expiresAt: Date.now() + lifeMs });
    const headers = {
      authorization: `Bearer ${token}`,
      accept,
      "mcp-protocol-version": version,
      "mcp-method": method,
    };
    const known = async () => ((await call("GET", "/v1/models", { headers })).status === 401 ? undefined : true);
    await waitUntil("the token", lifeMs / 2, known).catch(() => undefined);
    // Resolves with the end of the stream.
    const { status, text } = await call("POST", "/mcp", { body, headers });
    if (status === 401) continue;
    assert.equal(status, 200, text);
    assert.match(text, /subscriptions\/acknowledged/);
    return;
  }
  assert.fail("no token lived long enough");
});

test("the endpoint takes tokens, hosts, origins, limits and sizes as every route does", async (t) => {
  const policy = parsePolicy({
    limits: [{ name: "call", algorithm: "window", key: "principal", limit: 3, period: 60, classes: ["call"] }],
  });
  const { call, auth, url } = await start(t, echo, { policy });
  const ping = { jsonrpc: "2.0", id: 1, method: "ping" };
  const post = (more: object = {}, headers: Record<string, string> = {}, anonymous = false) =>
    call("POST", "/mcp", {
      body: { ...ping, ...more },
      headers: { accept: "application/json, text/event-stream", ...headers },
      anonymous,
    });
  const metadata = `${url}/.well-known/oauth-protected-resource/mcp`;
  const anonymous = await post({}, {}, true);
  assert.equal(anonymous.status, 401);
  assert.equal(
    anonymous.headers.get("www-authenticate"),
    `Bearer realm="warren", resource_metadata="${metadata}", scope="plugins:call"`,
  );
  for (const path of ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"])
    assert.deepEqual((await call("GET", path, { anonymous: true })).json, {
      resource: `${url}/mcp`,
      bearer_methods_supported: ["header"],
      scopes_supported: ["plugins:call"],
      resource_name: "Warren",
    });
  const chatter = await addCredential(auth, { scopes: ["chat"], principal: "key:chatter" });
  const poor = await post({}, { authorization: `Bearer ${chatter}` });
  assert.equal(poor.status, 403);
  assert.match(
    poor.headers.get("www-authenticate") ?? "",
    /error="insufficient_scope", scope="plugins:call", resource_metadata=/,
  );
  assert.equal((await post({}, { host: "evil.example" })).status, 421);
  assert.equal((await post({}, { origin: "https://evil.example" })).json["code"], "ORIGIN_NOT_ALLOWED");
  const got = await call("GET", "/mcp");
  assert.deepEqual([got.status, got.headers.get("allow")], [405, "POST"]);
  const batch = await call("POST", "/mcp", { body: [ping, ping] });
  assert.deepEqual([batch.status, batch.json["code"]], [400, "BATCH_NOT_SUPPORTED"]);
  assert.equal((await post({ params: { x: "y".repeat(1_100_000) } })).status, 413);
  const answered = await post();
  assert.equal(answered.status, 200, answered.text);
  assert.ok(answered.headers.has("traceparent") && answered.headers.has("x-request-id"));
  const denied = await post();
  assert.equal(denied.status, 429);
  assert.ok(Number(denied.headers.get("retry-after")) > 0);
});

test("behind a proxy the metadata names the address that the operator gives", async (t) => {
  const { call } = await startGateway(t, { config: { publicUrl: "https://warren.example.org/" } });
  const { json } = await call("GET", "/.well-known/oauth-protected-resource/mcp", { anonymous: true });
  assert.equal(json["resource"], "https://warren.example.org/mcp");
});
