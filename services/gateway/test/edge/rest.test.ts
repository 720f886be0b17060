import assert from "node:assert/strict";
import { request as httpRequest } from "node:http";
import { test } from "node:test";
import { type CallContext, RpcError, StatusCode } from "@warren/mesh";
import { PluginServiceDefinition } from "@warren/proto/warren/plugins/v1/plugins";
import { waitUntil } from "@warren/testing";
import { startGateway } from "../support.ts";

const tokenGrant = {
  accessToken: "a",
  tokenType: "Bearer",
  expiresIn: 600,
  refreshToken: "r",
  deviceId: "d",
  scopes: ["chat"],
};

test("a method's route takes JSON in both spellings and answers with every field", async (t) => {
  const { call } = await startGateway(t, {
    handlers: {
      agent: {
        chat: ({ sessionId, message }) => Promise.resolve({ sessionId, message: `You said ${message}` }),
        listSessions: () => Promise.resolve({}),
      },
    },
  });
  const snake = await call("POST", "/v1/chat", { body: { session_id: "s1", message: "Hi" } });
  const camel = await call("POST", "/v1/chat", { body: { sessionId: "s1", message: "Hi" } });
  assert.equal(snake.status, 200, snake.text);
  assert.deepEqual(snake.json, { sessionId: "s1", message: "You said Hi", toolCalls: [] });
  assert.deepEqual(camel.json, snake.json);
  assert.equal(snake.headers.get("content-type"), "application/json; charset=utf-8");
  assert.deepEqual((await call("GET", "/v1/sessions")).json, { sessions: [], nextPageToken: "" });
  const head = await call("HEAD", "/v1/sessions");
  assert.deepEqual([head.status, head.text], [200, ""]);
});

test("path variables join the body, and a body that says otherwise is refused", async (t) => {
  const seen: unknown[] = [];
  const { call } = await startGateway(t, {
    handlers: {
      "plugin-host": {
        callTool: (request) => {
          seen.push(request);
          return Promise.resolve({ content: [{ type: "text", text: "ok" }], isError: false });
        },
      },
    },
  });
  const path = "/v1/plugins/clock/tools/get_time.v2:call";
  const answer = await call("POST", path, { body: { arguments: { zone: "UTC", deep: [1, { a: null }] } } });
  assert.deepEqual([answer.status, answer.json], [200, { content: [{ type: "text", text: "ok" }], isError: false }]);
  assert.deepEqual(seen, [
    { pluginId: "clock", tool: "get_time.v2", arguments: { zone: "UTC", deep: [1, { a: null }] } },
  ]);
  assert.equal((await call("POST", path, { body: { pluginId: "clock", tool: "get_time.v2" } })).status, 200);
  for (const name of ["pluginId", "plugin_id"]) {
    const refused = await call("POST", path, { body: { [name]: "other" } });
    assert.equal(refused.status, 400);
    assert.deepEqual(refused.json["errors"], [{ field: name, message: "differs from the path" }]);
  }
  assert.equal(seen.length, 2, "a refused request reaches no service");
});

test("a keyed call goes to the replica that holds the key", async (t) => {
  const { call, nats } = await startGateway(t, { handlers: { "plugin-host": {} } });
  for (const key of ["alpha", "beta"]) {
    const host = await nats.connect("plugin-host");
    const fail = (): Promise<never> => Promise.reject(new RpcError(StatusCode.NOT_FOUND, "not here"));
    const others = Object.fromEntries(Object.keys(PluginServiceDefinition.methods).map((name) => [name, fail]));
    await host.serve(PluginServiceDefinition, {
      ...others,
      callTool: () => Promise.resolve({ content: [{ host: key }] }),
    } as never);
    await host.serveKey(PluginServiceDefinition, "callTool", key);
  }
  for (let i = 0; i < 10; i++)
    for (const key of ["alpha", "beta"]) {
      const { json } = await call("POST", `/v1/plugins/${key}/tools/t:call`, { body: {} });
      assert.deepEqual(json["content"], [{ host: key }]);
    }
});

test("a verb after a path variable leads to its own method", async (t) => {
  const completed: string[] = [];
  const { call } = await startGateway(t, {
    handlers: {
      auth: {
        startPairing: () => Promise.resolve({ id: "p", challenge: "c" }),
        completePairing: ({ id }) => {
          completed.push(id);
          return Promise.resolve(tokenGrant);
        },
      },
    },
  });
  const body = { code: "ABCD2345", signature: "c2ln" };
  const answer = await call("POST", "/v1/pairing/0123456789abcdef:complete", { body, anonymous: true });
  assert.deepEqual([answer.status, answer.json["deviceId"], completed], [200, "d", ["0123456789abcdef"]]);
  assert.equal((await call("POST", "/v1/pairing/0123456789abcdef", { body })).status, 404);
  assert.equal((await call("POST", "/v1/pairing/0123456789abcdef:other", { body })).status, 404);
});

test("query parameters become fields by their type", async (t) => {
  const seen: unknown[] = [];
  const { call } = await startGateway(t, {
    handlers: {
      agent: {
        listSessions: (request) => {
          seen.push(request);
          return Promise.resolve({});
        },
      },
    },
  });
  assert.equal((await call("GET", "/v1/sessions?pageSize=5&page_token=a%20b+c")).status, 200);
  assert.deepEqual(seen, [{ pageSize: 5, pageToken: "a b c" }]);
  const refused: [query: string, field: string][] = [
    ["pageSize=x", "pageSize"],
    ["pageSize=1e2", "pageSize"],
    ["pageSize=-1", "pageSize"],
    ["pageSize=99999999999", "pageSize"],
    ["pageSize=501", "pageSize"],
    ["pageSize=1&page_size=2", "page_size"],
    ["pageToken=a&pageToken=b", "pageToken"],
    ["nonsense=1", "nonsense"],
    ["__proto__=1", "__proto__"],
    ["constructor=1", "constructor"],
    ["pageSize[]=1", "pageSize[]"],
  ];
  for (const [query, field] of refused) {
    const { status, json } = await call("GET", `/v1/sessions?${query}`);
    assert.equal(status, 400, query);
    assert.deepEqual(
      (json["errors"] as { field: string }[]).map((error) => error.field),
      [field],
      query,
    );
  }
  assert.equal((await call("GET", "/v1/sessions?pageSize=%zz")).status, 400);
  assert.equal((await call("POST", "/v1/chat?message=x", { body: { message: "x" } })).status, 400);
  assert.equal(seen.length, 1, "a refused request reaches no service");
});

test("a method that every replica answers is answered with all of them", async (t) => {
  const logs = (hostId: string) => ({
    getPluginLogs: () => Promise.resolve({ lines: [{ hostId, source: "host", text: "up" }] }),
  });
  const { call, nats } = await startGateway(t, { handlers: { "plugin-host": logs("one") } });
  const other = await nats.connect("plugin-host");
  const fail = (): Promise<never> => Promise.reject(new Error("not asked for"));
  const others = Object.fromEntries(Object.keys(PluginServiceDefinition.methods).map((name) => [name, fail]));
  await other.serve(PluginServiceDefinition, { ...others, ...logs("two") } as never);
  const { status, json } = await call("GET", "/v1/plugins/clock/logs");
  assert.equal(status, 200);
  assert.deepEqual((json["lines"] as { hostId: string }[]).map((line) => line.hostId).sort(), ["one", "two"]);
});

test("a service learns who calls, from where, and under which key", async (t) => {
  const seen: CallContext[] = [];
  const { call } = await startGateway(t, {
    handlers: {
      agent: { listSessions: (_request, ctx) => (seen.push(ctx), Promise.resolve({})) },
      auth: { refreshToken: (_request, ctx) => (seen.push(ctx), Promise.resolve(tokenGrant)) },
    },
  });
  await call("GET", "/v1/sessions", { headers: { "idempotency-key": "once-1" } });
  await call("POST", "/v1/token", { body: { refreshToken: "r" }, anonymous: true });
  const [operator, nobody] = seen;
  assert.partialDeepStrictEqual(operator?.caller, {
    principal: "operator",
    tenant: "default",
    scopes: ["*"],
    address: "127.0.0.1",
  });
  assert.equal(operator?.idempotencyKey, "once-1");
  assert.partialDeepStrictEqual(nobody?.caller, { principal: "anonymous", scopes: [], address: "127.0.0.1" });
  assert.equal(nobody?.idempotencyKey, undefined);
  const bad = await call("GET", "/v1/sessions", { headers: { "idempotency-key": "a b" } });
  assert.deepEqual([bad.status, bad.json["code"]], [400, "INVALID_HEADER"]);
});

test("errors of services become problems with the right status", async (t) => {
  let error = new RpcError(StatusCode.UNKNOWN, "");
  const { call } = await startGateway(t, { handlers: { agent: { getSession: () => Promise.reject(error) } } });
  const table: [code: StatusCode, status: number][] = [
    [StatusCode.INVALID_ARGUMENT, 400],
    [StatusCode.FAILED_PRECONDITION, 400],
    [StatusCode.OUT_OF_RANGE, 400],
    [StatusCode.UNAUTHENTICATED, 401],
    [StatusCode.PERMISSION_DENIED, 403],
    [StatusCode.NOT_FOUND, 404],
    [StatusCode.ALREADY_EXISTS, 409],
    [StatusCode.ABORTED, 409],
    [StatusCode.RESOURCE_EXHAUSTED, 429],
    [StatusCode.INTERNAL, 500],
    [StatusCode.UNKNOWN, 500],
    [StatusCode.DATA_LOSS, 500],
    [StatusCode.UNIMPLEMENTED, 501],
    [StatusCode.UNAVAILABLE, 503],
    [StatusCode.DEADLINE_EXCEEDED, 504],
  ];
  for (const [code, status] of table) {
    error = new RpcError(code, "No such thing", {
      reason: "WHY",
      violations: [{ field: "id", description: "is odd" }],
      retryAfterMs: 2500,
    });
    const answer = await call("GET", "/v1/sessions/s1");
    assert.equal(answer.status, status);
    assert.equal(answer.headers.get("content-type"), "application/problem+json");
    assert.deepEqual(answer.json, {
      type: "urn:warren:problem:why",
      title: answer.json["title"],
      status,
      detail: "No such thing",
      instance: answer.headers.get("x-request-id"),
      code: "WHY",
      errors: [{ field: "id", message: "is odd" }],
    });
    assert.equal(answer.headers.get("retry-after"), status === 429 || status === 503 ? "3" : null);
  }
});

test("what a service did not mean for the client stays with the service", async (t) => {
  const { call } = await startGateway(t, {
    handlers: { agent: { getSession: () => Promise.reject(new Error("password=hunter2 in /etc/secret")) } },
  });
  const { status, text } = await call("GET", "/v1/sessions/s1");
  assert.equal(status, 500);
  assert.doesNotMatch(text, /hunter2|secret/);
});

test("a service that is not there is 503 with Retry-After", async (t) => {
  const { call } = await startGateway(t);
  const { status, headers, json } = await call("GET", "/v1/secrets");
  assert.deepEqual([status, json["code"], headers.get("retry-after")], [503, "NO_RESPONDERS", "1"]);
});

test("a client that leaves ends its call at the service", async (t) => {
  const seen: CallContext[] = [];
  const { url, operator } = await startGateway(t, {
    handlers: {
      agent: {
        chat: (_request, ctx) => {
          seen.push(ctx);
          return new Promise((_resolve, reject) =>
            ctx.signal.addEventListener("abort", () => reject(new RpcError(StatusCode.CANCELLED, "gone"))),
          );
        },
      },
    },
  });
  const headers = { authorization: `Bearer ${operator}`, "content-type": "application/json" };
  const outgoing = httpRequest(`${url}/v1/chat`, { method: "POST", headers });
  outgoing.on("error", () => {
    // It is this test that ends it.
  });
  outgoing.end(JSON.stringify({ message: "x" }));
  await waitUntil("The call", 5000, () => Promise.resolve(seen[0]));
  assert.equal(seen[0]?.signal.aborted, false);
  outgoing.destroy();
  await waitUntil("The cancellation", 5000, () => Promise.resolve(seen[0]?.signal.aborted || undefined));
});

test("unknown paths are 404 and known ones under another method 405 with what they allow", async (t) => {
  const { call } = await startGateway(t);
  const table: [method: string, path: string, status: number, allow: string | null][] = [
    ["GET", "/", 404, null],
    ["GET", "/v1", 404, null],
    ["GET", "/v1/plugins/a/b/c/d", 404, null],
    ["POST", "/v1/nothing", 404, null],
    ["PUT", "/v1/chat", 405, "GET, HEAD, POST"],
    ["PUT", "/v1/plugins/a/tools/b:call", 405, "POST"],
    ["GET", "/v1/plugins/a/tools/b:call", 405, "POST"],
    ["OPTIONS", "/v1/plugins/a/tools/b:call", 405, "POST"],
    ["PATCH", "/v1/secrets/a", 405, "DELETE, GET, HEAD, PUT"],
    ["DELETE", "/v1/pairing", 405, "GET, HEAD, POST"],
    ["PROPFIND", "/v1/devices/d1", 405, "DELETE"],
    ["POST", "/health", 405, "GET, HEAD"],
    ["POST", "/warren.secrets.v1.SecretsService/LeaseSecret", 404, null],
  ];
  for (const [method, path, status, allow] of table) {
    const answer = await call(method, path, {
      headers: { "content-type": "text/plain" },
      ...(method === "POST" ? { body: "x" } : {}),
    });
    assert.deepEqual([answer.status, answer.headers.get("allow")], [status, allow], `${method} ${path}`);
    assert.equal(answer.headers.get("content-type"), "application/problem+json");
  }
});

test("a body where there should be none is refused, not dropped", async (t) => {
  const { call } = await startGateway(t, { handlers: { auth: { revokeDevice: () => Promise.resolve({}) } } });
  assert.equal((await call("DELETE", "/v1/devices/d1", { body: { id: "d2" } })).json["code"], "UNEXPECTED_BODY");
  assert.equal((await call("GET", "/v1/devices", { body: { a: 1 } })).json["code"], "UNEXPECTED_BODY");
  const empty = await call("DELETE", "/v1/devices/d1", { headers: { "content-type": "application/json" } });
  assert.deepEqual([empty.status, empty.json], [200, {}]);
});
