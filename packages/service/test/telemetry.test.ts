import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import test from "node:test";
import { context, propagation, SpanKind, SpanStatusCode, trace, TraceFlags } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { contextFrom, traceparentOf } from "@warren/mesh";
import { HealthStatus, SpanStatus } from "@warren/proto/warren/telemetry/v1/telemetry";
import { Health, startTelemetry, type Telemetry } from "@warren/service";
import { SpanStore } from "../src/span-store.ts";
import { telemetryHandlers } from "../src/telemetry-handlers.ts";
import { IdGenerator } from "../src/tracing/ids.ts";
import { samplerOf } from "../src/tracing/sampling.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const ROOT = "00f067aa0ba902b7";

/** Telemetry that ends with the test: OpenTelemetry keeps it in globals. */
async function telemetryOf(
  t: { after(end: () => unknown): void },
  env: Record<string, string> = {},
): Promise<Telemetry> {
  const telemetry = await startTelemetry({ service: "agent", instanceId: "agent-1", version: "1.2.3", env });
  t.after(async () => {
    await telemetry.shutdown();
    trace.disable();
    context.disable();
    propagation.disable();
  });
  return telemetry;
}

test("spans are kept with their parents, their times and how they ended", async (t) => {
  const { spans } = await telemetryOf(t);
  const tracer = trace.getTracer("test");
  const before = Date.now();
  const traceId = tracer.startActiveSpan("turn", (turn) => {
    tracer.startActiveSpan("tool", { kind: SpanKind.CLIENT, attributes: { "tool.name": "now" } }, (tool) => {
      tool.setStatus({ code: SpanStatusCode.ERROR });
      tool.end();
    });
    turn.end();
    return turn.spanContext().traceId;
  });
  const [tool, turn] = spans.read(traceId);
  assert.ok(tool && turn);
  assert.deepEqual([turn.name, turn.parentSpanId, turn.status, turn.service], ["turn", "", SpanStatus.OK, "agent"]);
  assert.deepEqual([tool.name, tool.parentSpanId, tool.status], ["tool", turn.spanId, SpanStatus.ERROR]);
  assert.deepEqual(tool.attributes, { "tool.name": "now" });
  assert.equal(tool.traceId, traceId);
  const start = turn.startTime?.getTime() ?? 0;
  assert.ok(start >= before - 5 && start <= Date.now() + 5);
  assert.ok((turn.endTime?.getTime() ?? 0) >= start);
  assert.deepEqual(spans.read("0".repeat(32)), []);
});

test("a span joins the trace that a call carries, and passes it on", async (t) => {
  const { spans } = await telemetryOf(t);
  const within = contextFrom(`00-${TRACE}-${ROOT}-01`);
  const span = trace.getTracer("test").startSpan("served", {}, within);
  assert.match(traceparentOf(span) ?? "", new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`));
  span.end();
  assert.deepEqual(
    spans.read(TRACE).map(({ name, parentSpanId }) => [name, parentSpanId]),
    [["served", ROOT]],
  );
  for (const bad of [
    "",
    "00-x",
    `00-${"0".repeat(32)}-${ROOT}-01`,
    `01-${TRACE}-${ROOT}-01`,
    `00-${TRACE}-${ROOT}-01-x`,
  ])
    assert.equal(trace.getSpanContext(contextFrom(bad)), undefined, bad);
});

test("the active span stays the same over awaits and timers", async (t) => {
  await telemetryOf(t);
  const tracer = trace.getTracer("test");
  const seen = await Promise.all(
    ["a", "b"].map((name) =>
      tracer.startActiveSpan(name, async (span) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        return trace.getActiveSpan() === span;
      }),
    ),
  );
  assert.deepEqual(seen, [true, true]);
});

test("a span that another program measured is kept under that program's name", async (t) => {
  const telemetry = await telemetryOf(t);
  const span = {
    traceId: TRACE,
    spanId: "1".repeat(16),
    parentSpanId: ROOT,
    name: "work",
    startTime: 1_700_000_000_123.5,
    endTime: 1_700_000_001_000,
    failed: true,
  };
  telemetry.recordForeignSpan("plugin:clock", span);
  telemetry.recordForeignSpan("plugin:clock", { ...span, spanId: "2".repeat(16), failed: false });
  const [first, second] = telemetry.spans.read(TRACE);
  assert.deepEqual(first, {
    traceId: TRACE,
    spanId: "1".repeat(16),
    parentSpanId: ROOT,
    service: "plugin:clock",
    name: "work",
    startTime: new Date(1_700_000_000_123),
    endTime: new Date(1_700_000_001_000),
    status: SpanStatus.ERROR,
    attributes: {},
  });
  assert.equal(second?.status, SpanStatus.OK);
});

test("a sampling ratio of 0 keeps no trace that begins here, and those that callers sampled", async (t) => {
  const { spans } = await telemetryOf(t, { OTEL_TRACES_SAMPLER_ARG: "0" });
  const tracer = trace.getTracer("test");
  const own = tracer.startSpan("own");
  own.end();
  assert.equal(own.isRecording(), false);
  assert.deepEqual(spans.read(own.spanContext().traceId), []);
  tracer.startSpan("called", {}, contextFrom(`00-${TRACE}-${ROOT}-01`)).end();
  assert.equal(spans.read(TRACE).length, 1);
});

test("OTEL_TRACES_SAMPLER says which traces are recorded, by themselves or as their callers decided", async (t) => {
  const ids = Array.from({ length: 400 }, (_, i) =>
    ((i * 2654435761) % 2 ** 32).toString(16).padStart(8, "0").repeat(4),
  );
  const traces = ids.map((id, i) => `${i.toString(16).padStart(8, "0")}${id.slice(8)}`);
  const share = (sampler: ReturnType<typeof samplerOf>, parentSampled?: boolean): number =>
    traces.filter((id) => sampler(id, parentSampled)).length / traces.length;
  const of = (name: string, argument = ""): ReturnType<typeof samplerOf> =>
    samplerOf({ OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: argument });
  assert.equal(share(samplerOf({})), 1);
  assert.equal(share(of("always_off")), 0);
  assert.equal(share(of("always_on"), false), 1);
  assert.equal(share(of("parentbased_always_on"), false), 0);
  assert.equal(share(of("parentbased_always_off"), true), 1);
  assert.equal(share(of("parentbased_traceidratio", "0"), true), 1);
  assert.equal(share(of("traceidratio", "0"), true), 0);
  const quarter = share(of("traceidratio", "0.25"));
  assert.ok(quarter > 0.1 && quarter < 0.4, `${quarter}`);
  assert.throws(() => of("sometimes"), /OTEL_TRACES_SAMPLER is sometimes/);
  assert.throws(() => of("traceidratio", "2"), /must be from 0 to 1/);

  const { spans } = await telemetryOf(t, { OTEL_TRACES_SAMPLER: "parentbased_always_off" });
  const own = trace.getTracer("test").startSpan("own");
  own.end();
  assert.match(traceparentOf(own) ?? "", /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/, "its ids travel all the same");
  assert.deepEqual(spans.read(own.spanContext().traceId), []);
});

test("ids are lower-case hexadecimal, and no two are the same", () => {
  const ids = new IdGenerator();
  const made = Array.from({ length: 5000 }, () => [ids.traceId(), ids.spanId()]);
  assert.ok(made.every(([trace = "", span = ""]) => /^[0-9a-f]{32}$/.test(trace) && /^[0-9a-f]{16}$/.test(span)));
  assert.equal(new Set(made.flat()).size, 10_000);
});

test("a span says to exporters what was told to it, and nothing after its end", async (t) => {
  await telemetryOf(t);
  const tracer = trace.getTracer("test", "1.0");
  const root = tracer.startSpan("root");
  const attributes = { a: 1, gone: undefined };
  const span = tracer.startSpan(
    "work",
    { attributes, startTime: 1_000_000_000_000 },
    trace.setSpan(context.active(), root),
  );
  span.setAttributes({ b: "two" }).setAttribute("c", [3]).setAttributes({ a: 4 });
  span.addEvent("seen", { x: true }, [1_000_000_000, 5e8]).recordException(new Error("broken"));
  span.setStatus({ code: SpanStatusCode.ERROR, message: "no" }).updateName("done");
  span.end(1_000_000_002_500);
  span.setAttribute("late", 1).setStatus({ code: SpanStatusCode.OK }).addEvent("late");
  span.end();
  const read = span as unknown as ReadableSpan;
  assert.deepEqual(read.attributes, { a: 4, b: "two", c: [3] });
  assert.deepEqual(attributes, { a: 1, gone: undefined });
  assert.deepEqual(
    [read.startTime, read.endTime, read.duration],
    [
      [1e9, 0],
      [1e9 + 2, 5e8],
      [2, 5e8],
    ],
  );
  assert.deepEqual([read.name, read.status.message, read.ended, span.isRecording()], ["done", "no", true, false]);
  assert.deepEqual(read.events[0], { name: "seen", time: [1e9, 5e8], attributes: { x: true } });
  assert.equal(read.events[1]?.attributes?.["exception.message"], "broken");
  assert.equal(read.events.length, 2);
  assert.equal(read.parentSpanContext?.spanId, root.spanContext().spanId);
  assert.deepEqual(read.instrumentationScope, { name: "test", version: "1.0" });
  assert.equal(read.resource.attributes["service.name"], "agent");
});

test("spans go to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names", async (t) => {
  const bodies: Buffer[] = [];
  const collector = createServer((request, response) => {
    void buffer(request)
      .then((body) => bodies.push(body))
      .then(() => response.end());
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint;
  t.after(() => {
    delete process.env["OTEL_EXPORTER_OTLP_ENDPOINT"];
    collector.close();
    collector.closeAllConnections();
  });
  const telemetry = await telemetryOf(t, { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint });
  const span = trace.getTracer("test").startSpan("exported-span", { attributes: { "rpc.method": "Chat" } });
  span.end();
  await telemetry.shutdown();
  const body = Buffer.concat(bodies);
  for (const told of ["exported-span", "rpc.method", "Chat", "service.name", "agent-1"])
    assert.ok(body.includes(told), told);
  assert.ok(body.includes(Buffer.from(span.spanContext().traceId, "hex")));
});

/** A finished span of a trace. */
function finished(traceId: string, name = "span"): ReadableSpan {
  return {
    name,
    spanContext: () => ({ traceId, spanId: ROOT, traceFlags: TraceFlags.SAMPLED }),
    startTime: [0, 0],
    endTime: [0, 0],
    status: { code: SpanStatusCode.UNSET },
    attributes: {},
    resource: { attributes: {} },
  } as unknown as ReadableSpan;
}

test("the store is bounded: the oldest spans leave first", () => {
  const store = new SpanStore();
  const traceOf = (i: number): string => i.toString(16).padStart(32, "0");
  for (let i = 0; i < 10_010; i++) for (const name of ["a", "b"]) store.add(finished(traceOf(i), name));
  // 20,020 spans came and 20,000 are kept: the first ten traces are gone, and no other.
  for (const i of [0, 9]) assert.deepEqual(store.read(traceOf(i)), [], `trace ${i}`);
  for (const i of [10, 11, 5000, 10_009]) assert.equal(store.read(traceOf(i)).length, 2, `trace ${i}`);
});

test("one trace alone cannot fill the store", () => {
  const store = new SpanStore();
  for (let i = 0; i < 45_000; i++) store.add(finished(TRACE));
  assert.ok(store.read(TRACE).length <= 20_000);
});

test("a trace is forgotten after a quarter of an hour", (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_800_000_000_000 });
  const store = new SpanStore();
  store.add(finished(TRACE));
  t.mock.timers.tick(16 * 60_000);
  store.add(finished("1".repeat(32)));
  assert.deepEqual(store.read(TRACE), []);
  assert.equal(store.read("1".repeat(32)).length, 1);
});

test("a replica answers for itself: its spans of a trace, its health", async () => {
  const store = new SpanStore();
  store.add(finished(TRACE));
  const health = new Health();
  health.check("nats", () => Promise.reject(new Error("disconnected")));
  const handlers = telemetryHandlers({ service: "auth", instanceId: "auth-1", version: "1" }, store, health);
  const ctx = {} as Parameters<typeof handlers.getTrace>[1];
  assert.equal((await handlers.getTrace({ traceId: TRACE }, ctx)).spans?.length, 1);
  const report = await handlers.getHealth({}, ctx);
  assert.deepEqual(
    [report.service, report.instanceId, report.version, report.status],
    ["auth", "auth-1", "1", HealthStatus.UNHEALTHY],
  );
  assert.equal(report.checks?.[0]?.message, "disconnected");
});
