// Traces: spans are kept in memory, and sent to a collector where the standard OTEL_* variables name one.
import { context, type HrTime, SpanKind, SpanStatusCode, trace, TraceFlags } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type ReadableSpan,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { Environment } from "./config.ts";
import { SpanStore } from "./span-store.ts";

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
  /** Read for `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and `OTEL_TRACES_SAMPLER_ARG`. */
  readonly env: Environment;
}

/** Starts telemetry for this process: one tracer provider and one context manager, before anything makes a span. */
export async function startTelemetry({ service, instanceId, version, env }: TelemetryOptions): Promise<Telemetry> {
  const attributes = { "service.name": service, "service.instance.id": instanceId, "service.version": version };
  const spans = new SpanStore();
  const processors: SpanProcessor[] = [spans];
  if (env["OTEL_EXPORTER_OTLP_ENDPOINT"] ?? env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]) {
    // Loaded only where it is used: it costs a service a tenth of its start.
    const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-proto");
    processors.push(new BatchSpanProcessor({ exporter: new OTLPTraceExporter() }));
  }
  const provider = new TracerProvider({
    resource: resourceFromAttributes(attributes),
    sampler: new ParentBasedSampler({ root: rootSampler(env["OTEL_TRACES_SAMPLER_ARG"]) }),
    spanProcessors: processors,
  });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(provider);
  return {
    spans,
    recordForeignSpan: (name, span) => {
      const readable = foreign(name, span);
      for (const processor of processors) processor.onEnd(readable);
    },
    shutdown: () => provider.shutdown(),
  };
}

function rootSampler(ratio: string | undefined): AlwaysOnSampler | TraceIdRatioBasedSampler {
  return ratio === undefined || ratio === "" ? new AlwaysOnSampler() : new TraceIdRatioBasedSampler(Number(ratio));
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

function toHrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}
