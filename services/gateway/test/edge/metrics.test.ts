import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics } from "@warren/service";
import { startGateway } from "../support.ts";

test("metrics count requests by route, never by path, id or token", async (t) => {
  const { call, operator } = await startGateway(t, {
    registry: createMetrics({ service: "gateway", instanceId: "gateway-1", version: "1.2.3" }).registry,
    handlers: { agent: { getSession: ({ id }) => Promise.resolve({ id }) } },
  });
  await call("GET", "/v1/sessions/private-1");
  await call("GET", "/v1/sessions/private-2");
  await call("GET", "/unknown/private-3");
  const { status, headers, text } = await call("GET", "/metrics", { anonymous: true });
  assert.equal(status, 200);
  assert.match(headers.get("content-type") ?? "", /^text\/plain/);
  assert.match(
    text,
    /^http_server_request_duration_seconds_count\{method="GET",route="\/v1\/sessions\/\{id\}",status="200"\} 2$/m,
  );
  assert.match(text, /^http_server_request_duration_seconds_count\{method="GET",route="unknown",status="404"\} 1$/m);
  assert.match(text, /^http_server_active_requests 1$/m);
  assert.match(text, /^warren_limiter_degraded 1$/m);
  assert.match(text, /^warren_limit_decisions_total\{policy="global",outcome="allowed"\} 3$/m);
  assert.match(text, /^process_cpu_seconds_total/m);
  assert.doesNotMatch(text, new RegExp(`private|${operator}`));
});
