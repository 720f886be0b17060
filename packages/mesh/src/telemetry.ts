// Spans of calls, and the W3C Trace Context headers that join them. Written by hand: instrumentation libraries cost
// several times as much on this path.
import {
  type Attributes,
  context,
  type Context,
  isSpanContextValid,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  SpanStatusCode,
  trace,
  TraceFlags,
} from "@opentelemetry/api";
import { type RpcError, StatusCode, statusName } from "./status.ts";

const tracer = trace.getTracer("@warren/mesh");
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** Two digits for each value of the flags. */
const FLAGS = Array.from({ length: 256 }, (_, flags) => flags.toString(16).padStart(2, "0"));

/** A span as a `traceparent` value; undefined when it records nothing and has no parent that does. */
export function traceparentOf(span: Span | undefined): string | undefined {
  const of = span?.spanContext();
  if (!of || !isSpanContextValid(of)) return undefined;
  const flags = FLAGS[of.traceFlags & 0xff];
  return `00-${of.traceId}-${of.spanId}-${flags}`;
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
  const base = context.active();
  const span = tracer.startSpan(name, server, remoteParent(traceparent, base) ?? base);
  return { span, within: new SpanScope(base, span) };
}

/** The key under which a context holds its span, which the API keeps to itself but asks a context for. */
const SPAN_KEY = ((): symbol => {
  let key: symbol | undefined;
  trace.getSpan({
    getValue: (asked: symbol) => void (key = asked),
    setValue: () => context.active(),
    deleteValue: () => context.active(),
  });
  if (!key) throw new Error("@opentelemetry/api has changed: a context is not asked for its span by a key");
  return key;
})();

/** A context with a span: as {@link trace.setSpan} makes one, without a map and three closures. */
class SpanScope implements Context {
  readonly #base: Context;
  readonly #span: Pick<Span, "spanContext">;

  constructor(base: Context, span: Pick<Span, "spanContext">) {
    this.#base = base;
    this.#span = span;
  }

  getValue(key: symbol): unknown {
    return key === SPAN_KEY ? this.#span : this.#base.getValue(key);
  }

  setValue(key: symbol, value: unknown): Context {
    return this.#base.setValue(SPAN_KEY, this.#span).setValue(key, value);
  }

  deleteValue(key: symbol): Context {
    return this.#base.setValue(SPAN_KEY, this.#span).deleteValue(key);
  }
}

/** What a new span needs of a parent in another process; nothing else ever sees it. */
class RemoteParent implements SpanContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  readonly isRemote = true;

  constructor(traceId: string, spanId: string, traceFlags: number) {
    this.traceId = traceId;
    this.spanId = spanId;
    this.traceFlags = traceFlags;
  }

  spanContext(): SpanContext {
    return this;
  }
}

function remoteParent(traceparent: string | undefined, base: Context): Context | undefined {
  if (traceparent === undefined || !isTraceparent(traceparent)) return undefined;
  const flags = Number.parseInt(traceparent.slice(53), 16) & TraceFlags.SAMPLED;
  return new SpanScope(base, new RemoteParent(traceparent.slice(3, 35), traceparent.slice(36, 52), flags));
}

const ZERO = 48;
const NINE = 57;
const LOWER_A = 97;
const LOWER_F = 102;
const DASHES = [2, 35, 52];

/** Whether text is a `traceparent` of version 00: what {@link TRACEPARENT} matches, for every call that comes. */
function isTraceparent(text: string): boolean {
  if (text.length !== 55 || !text.startsWith("00-")) return false;
  for (const at of DASHES) if (text[at] !== "-") return false;
  let inTrace = 0;
  let inSpan = 0;
  for (let at = 3; at < 55; at++) {
    if (at === 35 || at === 52) continue;
    const code = text.charCodeAt(at);
    if (!((code >= ZERO && code <= NINE) || (code >= LOWER_A && code <= LOWER_F))) return false;
    // All zeros is none.
    if (at < 35) inTrace |= code - ZERO;
    else if (at < 52) inSpan |= code - ZERO;
  }
  return inTrace !== 0 && inSpan !== 0;
}

/** What a span says of how its call ended. */
const outcomes = new Map<StatusCode, Attributes>(
  Object.values(StatusCode).map((code) => [code, { "rpc.response.status_code": statusName(code) }]),
);

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
    span.setAttributes(outcomes.get(error?.code ?? StatusCode.OK) ?? {});
    if (error) span.setStatus({ code: SpanStatusCode.ERROR, message: statusName(error.code) });
  }
  span.end();
}
