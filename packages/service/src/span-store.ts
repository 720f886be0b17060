// Spans of the last minutes, in memory: a trace can be seen with nothing else installed.
import { type HrTime, SpanStatusCode } from "@opentelemetry/api";
import type { ReadableSpan, SpanProcessor } from "@opentelemetry/sdk-trace";
import { type Span, SpanStatus } from "@warren/proto/warren/telemetry/v1/telemetry";

const MOST_SPANS = 20_000;
const KEEP_MS = 15 * 60_000;

interface Kept {
  readonly at: number;
  readonly spans: ReadableSpan[];
}

/** Keeps finished spans by trace; the oldest traces leave first. */
export class SpanStore implements SpanProcessor {
  readonly #traces = new Map<string, Kept>();
  #count = 0;

  onStart(): void {
    // Only finished spans are kept.
  }

  onEnd(span: ReadableSpan): void {
    const { traceId } = span.spanContext();
    let kept = this.#traces.get(traceId);
    if (!kept) this.#traces.set(traceId, (kept = { at: Date.now(), spans: [] }));
    kept.spans.push(span);
    this.#count += 1;
    this.#forget();
  }

  /** The spans of a trace that this process recorded. */
  read(traceId: string): Span[] {
    return (this.#traces.get(traceId)?.spans ?? []).map(toMessage);
  }

  forceFlush(): Promise<void> {
    return Promise.resolve();
  }

  shutdown(): Promise<void> {
    this.#traces.clear();
    return Promise.resolve();
  }

  #forget(): void {
    const expired = Date.now() - KEEP_MS;
    for (const [traceId, kept] of this.#traces) {
      if (this.#count <= MOST_SPANS && kept.at > expired) return;
      this.#traces.delete(traceId);
      this.#count -= kept.spans.length;
    }
  }
}

const statuses = {
  [SpanStatusCode.UNSET]: SpanStatus.OK,
  [SpanStatusCode.OK]: SpanStatus.OK,
  [SpanStatusCode.ERROR]: SpanStatus.ERROR,
} as const;

function toMessage(span: ReadableSpan): Span {
  const { traceId, spanId } = span.spanContext();
  return {
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId ?? "",
    service: nameOf(span),
    name: span.name,
    startTime: toDate(span.startTime),
    endTime: toDate(span.endTime),
    status: statuses[span.status.code],
    attributes: { ...span.attributes },
  };
}

function nameOf(span: ReadableSpan): string {
  const name = span.resource.attributes["service.name"];
  return typeof name === "string" ? name : "";
}

function toDate([seconds, nanos]: HrTime): Date {
  return new Date(seconds * 1000 + nanos / 1e6);
}
