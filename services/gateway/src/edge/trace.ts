// Traces at the edge: what a request brings of one, and what a response says of it (W3C Trace Context).
import { randomBytes } from "node:crypto";
import { type Context, isSpanContextValid, ROOT_CONTEXT, type Span, trace } from "@opentelemetry/api";

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** The span itself, or one with ids in its place: without a telemetry SDK the services behind would each begin a trace of their own. */
export function withIds(span: Span): Span {
  return isSpanContextValid(span.spanContext())
    ? span
    : trace.wrapSpanContext({ traceId: hex(16), spanId: hex(8), traceFlags: 0 });
}

/** One well-formed `traceparent`, or none at all. Node joins repeated ones, which are then not well-formed. */
export function contextFrom(traceparent: string | string[] | undefined): Context {
  const [, traceId, spanId, flags] = (typeof traceparent === "string" && TRACEPARENT.exec(traceparent)) || [];
  if (!traceId || !spanId || !flags) return ROOT_CONTEXT;
  const remote = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
  return isSpanContextValid(remote) ? trace.setSpanContext(ROOT_CONTEXT, remote) : ROOT_CONTEXT;
}

/** A span as `traceparent`. */
export function traceparentOf(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
}

/** A `traceparent` for a response that has no request: the bytes on the wire were none. */
export function newTraceparent(): string {
  return `00-${hex(16)}-${hex(8)}-00`;
}

function hex(bytes: number): string {
  return randomBytes(bytes).toString("hex");
}
