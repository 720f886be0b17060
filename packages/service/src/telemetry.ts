// Traces: spans are kept in memory, and sent to a collector where the standard OTEL_* variables name one.
import { context, SpanKind, SpanStatusCode, trace, TraceFlags } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, type ReadableSpan, type SpanProcessor } from "@opentelemetry/sdk-trace";
import type { Registry } from "prom-client";
import type { Environment } from "./config.ts";
import type { LogPush } from "./otlp-logs.ts";
import type { MetricsPush } from "./otlp-metrics.ts";
import { SpanStore } from "./span-store.ts";
import { IdGenerator } from "./tracing/ids.ts";
import { samplerOf } from "./tracing/sampling.ts";
import { toHrTime } from "./tracing/time.ts";
import { LightTracerProvider } from "./tracing/tracer.ts";

/** A span that a plugin measured itself, checked by its host. */
export interface ForeignSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly startTime: number;
  readonly endTime: number;
  readonly failed: boolean;
}

/** A service's telemetry. */
export interface Telemetry {
  readonly spans: SpanStore;
  /** Records a span that another program measured, under that program's name. */
  recordForeignSpan(service: string, span: ForeignSpan): void;
  /** Sends what is left. */
  shutdown(): Promise<void>;
}

export interface TelemetryOptions {
  readonly service: string;
  readonly instanceId: string;
  readonly version: string;
  /**
   * Read for `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`,
   * `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_TRACES_SAMPLER` and its `_ARG`, and `OTEL_SDK_DISABLED`.
   */
  readonly env: Environment;
  /** Pushed by OTLP where a collector is named; absent: no metrics are. */
  readonly registry?: Registry;
}

/**
 * The push of this process's log lines; undefined unless `OTEL_LOGS_EXPORTER` is `otlp`: lines are printed in any case, and where a
 * collector reads them there, it would have them twice. Where to: `OTEL_EXPORTER_OTLP_LOGS_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT`.
 */
export async function startLogPush(options: Omit<TelemetryOptions, "registry">): Promise<LogPush | undefined> {
  if (options.env["OTEL_LOGS_EXPORTER"] !== "otlp" || isDisabled(options.env)) return undefined;
  const { pushLogs } = await import("./otlp-logs.ts");
  return pushLogs(attributesOf(options));
}

function attributesOf({ service, instanceId, version }: Omit<TelemetryOptions, "registry" | "env">) {
  return { "service.name": service, "service.instance.id": instanceId, "service.version": version };
}

const METRICS_INTERVAL_MS = 60_000;

/** Starts telemetry for this process: one tracer provider and one context manager, before anything makes a span. */
export async function startTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const { env, registry } = options;
  const spans = new SpanStore();
  if (isDisabled(env)) return { spans, recordForeignSpan: () => undefined, shutdown: () => Promise.resolve() };
  /** Beside the store, which needs no more than the finished span. */
  const processors: SpanProcessor[] = [];
  if (env["OTEL_EXPORTER_OTLP_ENDPOINT"] ?? env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]) {
    // Loaded only where it is used: it costs a service a tenth of its start.
    const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-proto");
    processors.push(new BatchSpanProcessor({ exporter: new OTLPTraceExporter() }));
  }
  const onEnd = (span: ReadableSpan): void => {
    spans.add(span);
    for (const processor of processors) processor.onEnd(span);
  };
  const resource = resourceFromAttributes(attributesOf(options));
  const push = await startPush(resource, env, registry);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(
    new LightTracerProvider({ resource, onEnd, sampler: samplerOf(env), ids: new IdGenerator() }),
  );
  return {
    spans,
    recordForeignSpan: (name, span) => onEnd(foreign(name, span)),
    shutdown: async () => {
      await Promise.all([...processors.map((processor) => processor.shutdown()), push?.stop()]);
    },
  };
}

/** The standard switch: no span is made, no call counted, nothing sent. */
export function isDisabled(env: Environment): boolean {
  return env["OTEL_SDK_DISABLED"]?.toLowerCase() === "true";
}

async function startPush(
  resource: Resource,
  env: Environment,
  registry: Registry | undefined,
): Promise<MetricsPush | undefined> {
  if (!registry || !(env["OTEL_EXPORTER_OTLP_ENDPOINT"] ?? env["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"]))
    return undefined;
  const { pushMetrics } = await import("./otlp-metrics.ts");
  return pushMetrics(registry, resource, Number(env["OTEL_METRIC_EXPORT_INTERVAL"]) || METRICS_INTERVAL_MS);
}

function foreign(service: string, span: ForeignSpan): ReadableSpan {
  const { traceId, spanId, parentSpanId, name, startTime, endTime, failed } = span;
  const traceFlags = TraceFlags.SAMPLED;
  return {
    name,
    kind: SpanKind.SERVER,
    spanContext: () => ({ traceId, spanId, traceFlags }),
    parentSpanContext: { traceId, spanId: parentSpanId, traceFlags },
    startTime: toHrTime(startTime),
    endTime: toHrTime(endTime),
    duration: toHrTime(endTime - startTime),
    status: { code: failed ? SpanStatusCode.ERROR : SpanStatusCode.UNSET },
    attributes: {},
    links: [],
    events: [],
    ended: true,
    resource: resourceFromAttributes({ "service.name": service }),
    instrumentationScope: { name: "@warren/service" },
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}
