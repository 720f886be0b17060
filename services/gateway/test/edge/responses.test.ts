import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { test } from "node:test";
import { RpcError, StatusCode } from "@warren/mesh";
import { RequestContexts } from "../../src/edge/request-context.ts";
import { startGateway } from "../support.ts";

const TRACEPARENT = /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/;

test("every response says which request and trace it is, and how browsers must treat it", async (t) => {
  const { call } = await startGateway(t, { handlers: { agent: { listSessions: () => Promise.resolve({}) } } });
  const responses = {
    200: await call("GET", "/v1/sessions"),
    400: await call("POST", "/v1/chat", { body: "{", headers: { "content-type": "application/json" } }),
    401: await call("GET", "/v1/sessions", { anonymous: true }),
    404: await call("GET", "/nowhere"),
    405: await call("PUT", "/v1/chat"),
    415: await call("POST", "/v1/chat", { body: "x", headers: { "content-type": "text/plain" } }),
    503: await call("GET", "/v1/secrets"),
  };
  for (const [status, response] of Object.entries(responses)) {
    assert.equal(response.status, Number(status));
    assert.match(response.headers.get("x-request-id") ?? "", /^[0-9a-f-]{36}$/);
    assert.match(response.headers.get("traceparent") ?? "", TRACEPARENT);
    if (response.status >= 400) assert.equal(response.json["instance"], response.headers.get("x-request-id"));
    const security = [
      "x-content-type-options",
      "x-frame-options",
      "cache-control",
      "content-security-policy",
      "referrer-policy",
      "cross-origin-resource-policy",
    ];
    assert.deepEqual(
      security.map((name) => response.headers.get(name)),
      ["nosniff", "DENY", "no-store", "default-src 'none'; frame-ancestors 'none'", "no-referrer", "same-origin"],
    );
    for (const name of ["server", "x-powered-by", "access-control-allow-origin"])
      assert.equal(response.headers.get(name), null);
  }
});

test("a client's request id is kept when it is sane, and replaced when it is not", async (t) => {
  const { call } = await startGateway(t);
  const idOf = async (given: string): Promise<string | null> =>
    (await call("GET", "/health/live", { headers: { "x-request-id": given } })).headers.get("x-request-id");
  assert.equal(await idOf("Run-7.step_2"), "Run-7.step_2");
  for (const bad of ["a b", "x".repeat(129), "a,b", "<script>", "é"])
    assert.match((await idOf(bad)) ?? "", /^[0-9a-f-]{36}$/);
});

test("a trace goes on from a well-formed traceparent, and begins anew from any other", async (t) => {
  const { call } = await startGateway(t);
  const traceOf = async (traceparent: string): Promise<string | undefined> =>
    (await call("GET", "/health/live", { headers: { traceparent } })).headers.get("traceparent")?.split("-")[1];
  const id = "4bf92f3577b34da6a3ce929d0e0e4736";
  assert.equal(await traceOf(`00-${id}-00f067aa0ba902b7-01`), id);
  const malformed = [
    `00-${id}-00f067aa0ba902b7`,
    `01-${id}-00f067aa0ba902b7-01`,
    `00-${"0".repeat(32)}-00f067aa0ba902b7-01`,
    `00-${id}-${"0".repeat(16)}-01`,
    `00-${id.toUpperCase()}-00f067aa0ba902b7-01`,
    `00-${id}-00f067aa0ba902b7-01, 00-${id}-00f067aa0ba902b7-01`,
    "x",
  ];
  for (const bad of malformed) {
    const trace = await traceOf(bad);
    assert.match(trace ?? "", /^[0-9a-f]{32}$/, bad);
    assert.notEqual(trace, id, bad);
  }
});

test("headers with a meaning inside the mesh do not get past the first step", () => {
  const headers: Record<string, string> = { accept: "*/*", host: "localhost" };
  const inner = {
    "nats-msg-id": "1",
    "nats-rollup": "all",
    "warren-caller": "x",
    "warren-rpc": "x",
    baggage: "a=b",
    tracestate: "a=b",
  };
  const request = {
    method: "GET",
    httpVersion: "1.1",
    headers: { ...headers, ...inner, "x-warren-token": "t" },
  } as unknown as IncomingMessage;
  const response = Object.assign(new EventEmitter(), { setHeader: () => undefined }) as unknown as ServerResponse;
  let seen: string[] = [];
  new RequestContexts(() => undefined).run(request, response, () => (seen = Object.keys(request.headers)));
  assert.deepEqual(seen, ["accept", "host", "x-warren-token"]);
});

test("a service that does not believe the gateway is the mesh's fault, not the client's; clocks that differ are named", async (t) => {
  const refused = (why?: string): RpcError =>
    new RpcError(StatusCode.UNAUTHENTICATED, "The caller assertion is refused", {
      reason: "CALLER_REFUSED",
      ...(why ? { metadata: { why } } : {}),
    });
  const { call } = await startGateway(t, {
    handlers: {
      agent: {
        listSessions: () => Promise.reject(refused()),
        getSession: () => Promise.reject(refused("expired")),
      },
    },
  });
  assert.equal((await call("GET", "/v1/sessions")).status, 500);
  const { status, json, headers } = await call("GET", "/v1/sessions/s_1");
  assert.deepEqual([status, json["code"], headers.get("retry-after")], [503, "CLOCKS_DIFFER", "5"]);
});
