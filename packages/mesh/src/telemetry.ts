// Spans of calls, and the W3C Trace Context headers that join them. Written by hand: instrumentation libraries cost
// several times as much on this path.
import {
  type Attributes,
  context,
  type Context,
  isSpanContextValid,
  type Span,
  SpanKind,
  type SpanOptions,
  SpanStatusCode,
  trace,
  TraceFlags,
} from "@opentelemetry/api";
import { type RpcError, StatusCode, statusName } from "./status.ts";

const tracer = trace.getTracer("@warren/mesh");
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** A span as a `traceparent` value; undefined when it records nothing and has no parent that does. */
export function traceparentOf(span: Span | undefined): string | undefined {
  const of = span?.spanContext();
  if (!of || !isSpanContextValid(of)) return undefined;
  return `00-${of.traceId}-${of.spanId}-${of.traceFlags.toString(16).padStart(2, "0")}`;
}

/** A context whose current span is the one that a `traceparent` names; the given one when it is malformed. */
export function contextFrom(traceparent: string | undefined, base: Context = context.active()): Context {
  const match = traceparent ? TRACEPARENT.exec(traceparent) : null;
  const [, traceId, spanId, flags] = match ?? [];
  if (!traceId || !spanId || !flags) return base;
  const traceFlags = Number.parseInt(flags, 16) & TraceFlags.SAMPLED;
  const spanContext = { traceId, spanId, traceFlags, isRemote: true };
  return isSpanContextValid(spanContext) ? trace.setSpanContext(base, spanContext) : base;
}

/** What the spans of a method's calls begin with: made once. */
export interface CallSpans {
  readonly name: string;
  readonly client: SpanOptions;
  readonly server: SpanOptions;
}

/** The spans of a method's calls. */
export function callSpans(service: string, method: string): CallSpans {
  const attributes: Attributes = { "rpc.system.name": "warren", "rpc.service": service, "rpc.method": method };
  return {
    name: `${service}/${method}`,
    client: { kind: SpanKind.CLIENT, attributes },
    server: { kind: SpanKind.SERVER, attributes },
  };
}

/** Starts the span of a call to another service. */
export function startClientSpan({ name, client }: CallSpans): Span {
  return tracer.startSpan(name, client);
}

/** Starts the span of a call that another service made, and the context in which it is handled. */
export function startServerSpan(
  { name, server }: CallSpans,
  traceparent: string | undefined,
): { span: Span; within: Context } {
  const parent = contextFrom(traceparent);
  const span = tracer.startSpan(name, server, parent);
  return { span, within: trace.setSpan(parent, span) };
}

/** What a span says of how its call ended. */
const outcomes = new Map<StatusCode, Attributes>(
  Object.values(StatusCode).map((code) => [code, { "rpc.response.status_code": statusName(code) }]),
);

/** Ends a span with the outcome of its call. */
export function endSpan(span: Span, error?: RpcError): void {
  if (span.isRecording()) {
    span.setAttributes(outcomes.get(error?.code ?? StatusCode.OK) ?? {});
    if (error) span.setStatus({ code: SpanStatusCode.ERROR, message: statusName(error.code) });
  }
  span.end();
}
