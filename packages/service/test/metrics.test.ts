import assert from "node:assert/strict";
import { createServer } from "node:http";
import test from "node:test";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { DataPointType, type MetricData } from "@opentelemetry/sdk-metrics";
import { StatusCode } from "@warren/mesh";
import { methodContract } from "@warren/contract";
import {
  Counter,
  createMetrics,
  Histogram,
  Registry,
  type ServiceMetrics,
  showGauge,
  startAtZero,
} from "@warren/service";
import { collect, pushMetrics } from "../src/otlp-metrics.ts";

const CHAT = methodContract("warren.agent.v1.AgentService", "Chat");

function metricsOf(): ServiceMetrics {
  const metrics = createMetrics({ service: "agent", instanceId: "agent-1", version: "1.2.3" });
  metrics.observer.served(CHAT, 3, StatusCode.OK);
  metrics.observer.served(CHAT, 30, StatusCode.OK);
  metrics.observer.called(CHAT, 4, StatusCode.UNAVAILABLE);
  metrics.watch({ up: true, load: { calls: 2, queued: 1, routes: 5 } });
  return metrics;
}

test("calls are counted on both sides by method and status; what goes on now is shown as it is", async () => {
  const text = await metricsOf().registry.metrics();
  const path = "warren.agent.v1.AgentService/Chat";
  for (const line of [
    `rpc_server_duration_seconds_count{method="${path}",code="OK"} 2`,
    `rpc_server_duration_seconds_bucket{le="0.005",method="${path}",code="OK"} 1`,
    `rpc_client_duration_seconds_count{method="${path}",code="UNAVAILABLE"} 1`,
    "warren_mesh_up 1",
    "rpc_server_active_requests 2",
    "rpc_server_queued_requests 1",
    "rpc_client_pending_requests 5",
    'warren_service_info{service="agent",instance_id="agent-1",version="1.2.3"} 1',
  ])
    assert.ok(text.includes(`${line}\n`), line);
  assert.match(text, /^nodejs_eventloop_lag_p99_seconds /m);
});

test("a gauge shows what there is now, not what there was", async () => {
  const { registry } = metricsOf();
  const present = new Set(["a", "b"]);
  showGauge(registry, { name: "present", help: "What is there", labelNames: ["name"] }, (gauge) => {
    for (const name of present) gauge.set({ name }, 1);
  });
  assert.match(await registry.metrics(), /present\{name="b"\} 1/);
  present.delete("b");
  const text = await registry.metrics();
  assert.match(text, /present\{name="a"\} 1/);
  assert.doesNotMatch(text, /present\{name="b"\}/);
});

test("what can be counted is shown at 0 for every combination of labels, and told twice keeps its count", async () => {
  const registry = new Registry();
  const registers = [registry];
  const of = { help: "Decisions", registers };
  const decisions = new Counter({ ...of, name: "decisions_total", labelNames: ["check", "outcome"] as const });
  const values = { check: ["token", "scope"], outcome: ["granted", "refused"] };
  startAtZero(decisions, values);
  decisions.inc({ check: "scope", outcome: "refused" });
  startAtZero(decisions, values);
  const turns = new Histogram({ ...of, name: "turn_seconds", labelNames: ["outcome"] as const });
  startAtZero(turns, { outcome: ["failed"] });
  const text = await registry.metrics();
  for (const line of [
    'decisions_total{check="token",outcome="granted"} 0',
    'decisions_total{check="token",outcome="refused"} 0',
    'decisions_total{check="scope",outcome="granted"} 0',
    'decisions_total{check="scope",outcome="refused"} 1',
    'turn_seconds_count{outcome="failed"} 0',
  ])
    assert.ok(text.includes(`${line}\n`), line);
});

test("a collector is sent the same figures by OTLP, buckets counted each for itself", async (t) => {
  const { registry } = metricsOf();
  const resource = resourceFromAttributes({ "service.name": "agent" });
  const { scopeMetrics } = await collect(registry, resource, [1, 0]);
  const named = (name: string): MetricData | undefined =>
    scopeMetrics[0]?.metrics.find(({ descriptor }) => descriptor.name === name);
  const served = named("rpc_server_duration_seconds");
  assert.ok(served?.dataPointType === DataPointType.HISTOGRAM);
  const [point] = served.dataPoints;
  assert.deepEqual(point?.attributes, { method: CHAT.path, code: "OK" });
  assert.equal(point.value.count, 2);
  assert.equal(
    point.value.buckets.counts.reduce((sum, count) => sum + count, 0),
    2,
  );
  assert.equal(point.value.buckets.counts.length, point.value.buckets.boundaries.length + 1);
  assert.ok(named("process_cpu_seconds_total")?.dataPointType === DataPointType.SUM);
  assert.ok(named("warren_mesh_up")?.dataPointType === DataPointType.GAUGE);

  const received = Promise.withResolvers<{ path: string; bytes: Buffer }>();
  const collector = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      response.end();
      received.resolve({ path: request.url ?? "", bytes: Buffer.concat(chunks) });
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  t.after(() => collector.close());
  const before = process.env["OTEL_EXPORTER_OTLP_ENDPOINT"];
  process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = `http://127.0.0.1:${(collector.address() as { port: number }).port}`;
  t.after(() => {
    if (before === undefined) delete process.env["OTEL_EXPORTER_OTLP_ENDPOINT"];
    else process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = before;
  });
  await pushMetrics(registry, resource, 60_000).stop();
  const { path, bytes } = await received.promise;
  assert.equal(path, "/v1/metrics");
  assert.ok(bytes.includes("rpc_server_duration_seconds") && bytes.includes(CHAT.path));
});
