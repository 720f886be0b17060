import assert from "node:assert/strict";
import { test } from "node:test";
import { context, propagation } from "@opentelemetry/api";
import { type Span, SpanStatus } from "@warren/proto/warren/telemetry/v1/telemetry";
import { startTelemetry } from "@warren/service";
import { startRedis, waitUntil } from "@warren/testing";
import { connectRedis } from "../../src/limits/redis-client.ts";
import { startGateway } from "../support.ts";

// One for the process, as in production: it sets OpenTelemetry's globals.
const telemetry = await startTelemetry({ service: "gateway", instanceId: "test", version: "0", env: {} });

function traceIdOf(headers: Headers): string {
  return headers.get("traceparent")?.split("-")[1] ?? "";
}

/** The spans of a request, once its server span has ended. */
function spansOf(headers: Headers): Promise<Span[]> {
  return waitUntil("The server span", 5000, () => {
    const spans = telemetry.spans.read(traceIdOf(headers));
    return Promise.resolve(
      spans.some((span) => span.spanId === headers.get("traceparent")?.split("-")[2]) ? spans : undefined,
    );
  });
}

test("a request is one tree: the route, Redis beside the call, the service below it", async (t) => {
  const baggage: unknown[] = [];
  const redis = connectRedis(`unix://${(await startRedis(t)).path}`);
  const { call, operator } = await startGateway(t, {
    redis,
    redisTimeoutMs: 5000,
    handlers: {
      agent: {
        getSession: ({ id }) => {
          baggage.push(propagation.getBaggage(context.active()));
          return Promise.resolve({ id });
        },
      },
    },
  });
  const secret = "hunter2";
  const { status, headers } = await call("GET", "/v1/sessions/private-session-1?", {
    headers: {
      baggage: `user=${secret}`,
      tracestate: `x=${secret}`,
      "nats-msg-id": secret,
      "warren-caller": secret,
      cookie: secret,
    },
  });
  assert.equal(status, 200);
  const spans = await spansOf(headers);
  const named = (name: string): Span => {
    const found = spans.filter((span) => span.name === name);
    assert.ok(found.length > 0, `${name} among ${spans.map((span) => span.name).join(", ")}`);
    return found[0] as Span;
  };
  const server = named("GET /v1/sessions/{id}");
  assert.equal(server.parentSpanId, "");
  assert.deepEqual(server.attributes, {
    "http.request.method": "GET",
    "http.route": "/v1/sessions/{id}",
    "http.response.status_code": 200,
    "network.protocol.version": "1.1",
    "url.scheme": "http",
    ...Object.fromEntries(Object.entries(server.attributes ?? {}).filter(([name]) => name === "span.kind")),
  });
  assert.equal(named("redis FCALL").parentSpanId, server.spanId);
  assert.equal(named("redis FCALL").attributes?.["db.system.name"], "redis");
  assert.equal(named("warren.agent.v1.AgentService/GetSession").parentSpanId.length, 16);
  const ids = new Set(spans.map((span) => span.spanId));
  assert.deepEqual(
    spans.filter((span) => span.parentSpanId !== "" && !ids.has(span.parentSpanId)),
    [],
    "no gap",
  );
  const told = JSON.stringify(spans.map((span) => [span.name, span.attributes]));
  for (const hidden of [secret, operator, "private-session-1"]) assert.ok(!told.includes(hidden), hidden);
  assert.deepEqual(baggage, [undefined], "what a client calls baggage goes nowhere");
});

test("a request goes on with the trace of its client, and its failure is in it", async (t) => {
  const { call } = await startGateway(t);
  const client = "00f067aa0ba902b7";
  const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
  const { status, headers } = await call("GET", "/v1/secrets", {
    headers: { traceparent: `00-${traceId}-${client}-01` },
  });
  assert.deepEqual([status, traceIdOf(headers)], [503, traceId]);
  const server = (await spansOf(headers)).find((span) => span.name === "GET /v1/secrets");
  assert.equal(server?.parentSpanId, client);
  assert.equal(server?.status, SpanStatus.ERROR);
  assert.equal(server?.attributes?.["error.type"], "503");
});

test("unknown paths and odd methods do not become names of spans", async (t) => {
  const { call } = await startGateway(t);
  const { headers } = await call("GET", "/v1/very/private/path");
  assert.deepEqual(
    (await spansOf(headers)).map((span) => span.name),
    ["GET"],
  );
  const odd = await call("PROPFIND", "/v1/chat");
  assert.deepEqual(
    (await spansOf(odd.headers)).map((span) => span.name),
    ["HTTP"],
  );
});
