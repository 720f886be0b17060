// Spans of calls, and the W3C Trace Context headers that join them. Written by hand: instrumentation libraries cost
// several times as much on this path.
import {
  type Attributes,
  context,
  type Context,
  isSpanContextValid,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
} from "@opentelemetry/api";
import type { MsgHdrs } from "@nats-io/transport-node";
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

/** What a span of a call says; names are those of the contract, never ids. */
function attributes(service: string, method: string): Attributes {
  return { "rpc.system.name": "warren", "rpc.service": service, "rpc.method": method };
}

/** Starts the span of a call to another service, and writes it into the headers. */
export function startClientSpan(service: string, method: string): Span {
  return tracer.startSpan(`${service}/${method}`, { kind: SpanKind.CLIENT, attributes: attributes(service, method) });
}

/** Puts a span where the called service looks for it. */
export function inject(span: Span, into: MsgHdrs): void {
  const value = traceparentOf(span);
  if (value) into.set("traceparent", value);
}

/** Starts the span of a call that another service made, and the context in which it is handled. */
export function startServerSpan(
  service: string,
  method: string,
  traceparent: string | undefined,
): { span: Span; within: Context } {
  const parent = contextFrom(traceparent);
  const span = tracer.startSpan(
    `${service}/${method}`,
    { kind: SpanKind.SERVER, attributes: attributes(service, method) },
    parent,
  );
  return { span, within: trace.setSpan(parent, span) };
}

/**
 * Runs an operation on what JetStream keeps within a span, where it is part of something that is traced: what a replica
 * does by itself, again and again, would fill the store with traces of one span.
 * @param name a template, never a key or a subject.
 */
export async function traceState<T>(name: string, operation: () => Promise<T>): Promise<T> {
  if (trace.getActiveSpan()?.isRecording() !== true) return operation();
  const span = tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes: { "messaging.system": "nats" } });
  try {
    return await context.with(trace.setSpan(context.active(), span), operation);
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR });
    throw error;
  } finally {
    span.end();
  }
}

/** Ends a span with the outcome of its call. */
export function endSpan(span: Span, error?: RpcError): void {
  if (span.isRecording()) {
    span.setAttribute("rpc.response.status_code", statusName(error?.code ?? StatusCode.OK));
    if (error) span.setStatus({ code: SpanStatusCode.ERROR, message: statusName(error.code) });
  }
  span.end();
}
