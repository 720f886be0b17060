import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { status as Code } from "@grpc/grpc-js";
import { methods } from "@warren/contract";
import { RpcError, StatusCode } from "@warren/mesh";
import { ChatEvent, type ChatRequest } from "@warren/proto/warren/agent/v1/agent";
import { parsePolicy } from "../../src/limits/policy.ts";
import { publicMethods } from "../../src/edge/routes.ts";
import { accessToken, addCredential, addKey, startGateway } from "../support.ts";
import { contractOf, encode, GrpcTestClient } from "./support.ts";

const CHAT = "warren.agent.v1.AgentService/Chat";
const STREAM = "warren.agent.v1.AgentService/StreamChat";
const LIST = "warren.agent.v1.AgentService/ListSessions";
const LOGS = "warren.plugins.v1.PluginService/GetPluginLogs";

test("every public method is served, and no internal one", async (t) => {
  const { grpcAddress } = await startGateway(t);
  const client = new GrpcTestClient(t, grpcAddress);
  for (const method of methods.values()) {
    const ask = method.streaming ? client.stream(method.path) : client.call(method.path);
    const { code } = await ask;
    // Known by what stands before it: a token, or the rules of its fields.
    const known = method.scope === "public" ? Code.INVALID_ARGUMENT : Code.UNAUTHENTICATED;
    assert.equal(code, method.http ? known : Code.UNIMPLEMENTED, method.path);
  }
  assert.ok(publicMethods(methods.values()).length > 15);
});

test("a call reaches its service with caller, deadline, key and trace, and its answer says which request it was", async (t) => {
  const seen: unknown[] = [];
  const { grpcAddress, operator, auth } = await startGateway(t, {
    handlers: {
      agent: {
        chat: ({ message }, { caller, deadline, idempotencyKey }) => {
          seen.push([message, caller.principal, caller.scopes, idempotencyKey, deadline - performance.now() < 5_001]);
          return Promise.resolve({ sessionId: "s1", message: "hello", toolCalls: [], usage: undefined });
        },
      },
    },
  });
  const client = new GrpcTestClient(t, grpcAddress);
  const traceId = "0af7651916cd43dd8448eb211c80319c";
  const answer = await client.call(
    CHAT,
    { message: "hi" },
    {
      token: operator,
      deadline: Date.now() + 5_000,
      metadata: {
        traceparent: `00-${traceId}-b7ad6b7169203331-01`,
        "x-request-id": "mine",
        "idempotency-key": "k1",
      },
    },
  );
  assert.deepEqual([answer.code, answer.json], [Code.OK, { sessionId: "s1", message: "hello", toolCalls: [] }]);
  assert.equal(answer.headers["x-request-id"], "mine");
  assert.match(answer.headers["traceparent"] ?? "", new RegExp(`^00-${traceId}-`));
  const twice = await client.call(
    CHAT,
    { message: "hi" },
    {
      token: await accessToken(await addKey(auth)),
      metadata: { traceparent: [`00-${traceId}-b7ad6b7169203331-01`, `00-${"1".repeat(32)}-b7ad6b7169203331-01`] },
    },
  );
  assert.doesNotMatch(twice.headers["traceparent"] ?? "", new RegExp(`${traceId}|${"1".repeat(32)}`));
  assert.deepEqual(seen, [
    ["hi", "operator", ["*"], "k1", true],
    ["hi", "device:d1", ["chat", "sessions:read"], undefined, false],
  ]);
});

test("the same admission as by HTTP: token, scope, host, field rules, size; each with its reason", async (t) => {
  let reached = 0;
  const { grpcAddress, operator, auth } = await startGateway(t, {
    handlers: {
      agent: { chat: () => ((reached += 1), Promise.reject(new Error("reached"))) },
      "plugin-host": { callTool: () => ((reached += 1), Promise.reject(new Error("reached"))) },
    },
  });
  const client = new GrpcTestClient(t, grpcAddress);
  const reader = await addCredential(auth, { kind: "api-key", scopes: ["plugins:read"] });
  const say = { message: "hi" };
  for (const token of [undefined, "nonsense", `${operator}x`]) {
    const { code, reason } = await client.call(CHAT, say, { token });
    assert.deepEqual([code, reason], [Code.UNAUTHENTICATED, "UNAUTHENTICATED"]);
  }
  const scope = await client.call(CHAT, say, { token: reader });
  assert.deepEqual([scope.code, scope.reason], [Code.PERMISSION_DENIED, "SCOPE_MISSING"]);
  const foreign = await client.call(CHAT, say, { token: operator, host: "evil.example" });
  assert.deepEqual([foreign.code, foreign.reason], [Code.PERMISSION_DENIED, "HOST_NOT_ALLOWED"]);
  const ambiguous = await client.call(CHAT, say, { token: operator, metadata: { "x-warren-token": "another" } });
  assert.deepEqual([ambiguous.code, ambiguous.reason], [Code.INVALID_ARGUMENT, "AMBIGUOUS_TOKEN"]);
  const key = await client.call(CHAT, say, { token: operator, metadata: { "idempotency-key": "k".repeat(129) } });
  assert.deepEqual([key.code, key.fields], [Code.INVALID_ARGUMENT, ["Idempotency-Key"]]);
  const rules = await client.call(CHAT, { sessionId: "a.b" }, { token: operator });
  assert.deepEqual([rules.code, rules.fields], [Code.INVALID_ARGUMENT, ["sessionId", "message"]]);
  for (const bytes of [Buffer.from([0xff, 0xff]), Buffer.from([0x12, 0x7f]), Buffer.from([0x12, 2, 0xff, 0xfe])]) {
    const garbage = await client.call(CHAT, {}, { token: operator, bytes });
    assert.equal(garbage.code, Code.INVALID_ARGUMENT, bytes.toString("hex"));
  }
  const long = await client.call(CHAT, { message: "x".repeat(65_537) }, { token: operator });
  assert.deepEqual([long.code, long.fields], [Code.INVALID_ARGUMENT, ["message"]]);
  const big = await client.call(CHAT, { message: "x".repeat(1 << 21) }, { token: operator });
  assert.equal(big.code, Code.RESOURCE_EXHAUSTED);
  const tool = { pluginId: "clock", tool: "t" };
  const struct = encode(contractOf("warren.plugins.v1.PluginService/CallTool"), { ...tool, arguments: { nested: {} } });
  // The key of the map entry, in place of one as long.
  const named = encode(contractOf("warren.plugins.v1.PluginService/CallTool"), {
    ...tool,
    arguments: { xxproto99: {} },
  });
  const at = named.indexOf("xxproto99");
  named.write("__proto__", at, "latin1");
  const polluted = await client.call("warren.plugins.v1.PluginService/CallTool", {}, { token: operator, bytes: named });
  assert.equal(polluted.code, Code.INVALID_ARGUMENT);
  assert.match(polluted.message, /not an allowed key/);
  assert.ok(struct.length > 0);
  assert.equal(reached, 0);
});

test("over a limit the caller is told when to come again, and the counters are those of HTTP", async (t) => {
  const { grpcAddress, operator, call } = await startGateway(t, {
    policy: parsePolicy({
      limits: [{ name: "read", algorithm: "window", key: "principal", limit: 2, period: 60, classes: ["read"] }],
    }),
    handlers: { agent: { listSessions: () => Promise.resolve({ sessions: [], nextPageToken: "" }) } },
  });
  const client = new GrpcTestClient(t, grpcAddress);
  assert.equal((await call("GET", "/v1/sessions")).status, 200);
  assert.equal((await client.call(LIST, {}, { token: operator })).code, Code.OK);
  const denied = await client.call(LIST, {}, { token: operator });
  assert.deepEqual([denied.code, denied.reason], [Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"]);
  assert.ok((denied.retrySeconds ?? 0) > 0 && (denied.retrySeconds ?? 0) <= 120, String(denied.retrySeconds));
  assert.equal((await call("GET", "/v1/sessions")).status, 429);
});

test("what a service answers with is told as it is; what is none of the caller's business is not", async (t) => {
  const failures: Record<string, Error> = {
    precondition: new RpcError(StatusCode.FAILED_PRECONDITION, "not now \ud800", { reason: "NOT_NOW" }),
    busy: new RpcError(StatusCode.UNAVAILABLE, "busy", { reason: "BUSY", retryAfterMs: 3_000 }),
    bug: new Error("the password is hunter2"),
  };
  const { grpcAddress, operator } = await startGateway(t, {
    handlers: {
      agent: {
        chat: ({ message }) => Promise.reject(failures[message]),
        // eslint-disable-next-line require-yield
        async *streamChat({ message }) {
          if (message === "late") yield ChatEvent.create({ sequence: 1 });
          throw failures["busy"] as Error;
        },
      },
      "plugin-host": {
        getPluginLogs: () => Promise.resolve({ lines: [{ time: undefined, hostId: "h", source: "host", text: "x" }] }),
      },
    },
  });
  const client = new GrpcTestClient(t, grpcAddress);
  const ask = { token: operator };
  const precondition = await client.call(CHAT, { message: "precondition" }, ask);
  assert.deepEqual([precondition.code, precondition.reason], [Code.FAILED_PRECONDITION, "NOT_NOW"]);
  const busy = await client.call(CHAT, { message: "busy" }, ask);
  assert.deepEqual([busy.code, busy.reason, busy.retrySeconds], [Code.UNAVAILABLE, "BUSY", 3]);
  const bug = await client.call(CHAT, { message: "bug" }, ask);
  assert.equal(bug.code, Code.INTERNAL);
  assert.doesNotMatch(JSON.stringify(bug), /hunter2/);
  const early = await client.stream(STREAM, { message: "early" }, ask);
  assert.deepEqual([early.code, early.messages], [Code.UNAVAILABLE, []]);
  const late = await client.stream(STREAM, { message: "late" }, ask);
  assert.deepEqual([late.code, late.reason, late.messages.length], [Code.UNAVAILABLE, "BUSY", 1]);
  const logs = await client.call(LOGS, { id: "clock" }, ask);
  assert.deepEqual([logs.code, (logs.json as { lines: unknown[] }).lines.length], [Code.OK, 1]);
  const nobody = await client.call("warren.secrets.v1.SecretsService/ListSecrets", {}, ask);
  assert.deepEqual([nobody.code, nobody.reason], [Code.UNAVAILABLE, "NO_RESPONDERS"]);
});

test("a stream comes message by message; deadline and cancellation reach the service", async (t) => {
  const { grpcAddress, operator } = await startGateway(t, {
    handlers: {
      agent: {
        async *streamChat({ message }, { signal }) {
          yield ChatEvent.create({ sequence: 1, event: { $case: "text", value: { text: message } } });
          if (message === "whole") return yield ChatEvent.create({ sequence: 2 });
          await once(signal, "abort");
          ended.resolve(message);
        },
        chat: (_request: ChatRequest, { signal }) =>
          once(signal, "abort").then(() => {
            ended.resolve("unary");
            throw new Error("aborted");
          }),
      },
    },
  });
  const client = new GrpcTestClient(t, grpcAddress);
  let ended = Promise.withResolvers<string>();
  const whole = await client.stream(STREAM, { message: "whole" }, { token: operator });
  assert.deepEqual(
    [whole.code, whole.messages],
    [Code.OK, [{ sequence: 1, text: { text: "whole" } }, { sequence: 2 }]],
  );
  const late = await client.stream(STREAM, { message: "late" }, { token: operator, deadline: Date.now() + 1_500 });
  assert.deepEqual([late.code, late.messages.length], [Code.DEADLINE_EXCEEDED, 1]);
  assert.equal(await ended.promise, "late");
  ended = Promise.withResolvers();
  const gone = new AbortController();
  const { call, end } = client.open(STREAM, encode(contractOf(STREAM), { message: "gone" }), {
    token: operator,
    signal: gone.signal,
  });
  await once(call, "data");
  gone.abort();
  assert.equal((await end).code, Code.CANCELLED);
  assert.equal(await ended.promise, "gone");
  ended = Promise.withResolvers();
  const short = await client.call(CHAT, { message: "x" }, { token: operator, deadline: Date.now() + 1_000 });
  assert.equal(short.code, Code.DEADLINE_EXCEEDED);
  assert.equal(await ended.promise, "unary");
});
