// Spans of the last minutes, in memory: a trace can be seen with nothing else installed.
import { type HrTime, SpanStatusCode } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { type Span, SpanStatus } from "@warren/proto/warren/telemetry/v1/telemetry";

const MOST_SPANS = 20_000;
const KEEP_MS = 15 * 60_000;

/**
 * Keeps finished spans; the oldest leave first. A ring without an index: every call writes, and hardly anybody reads, so a
 * reader looks through all.
 */
export class SpanStore {
  readonly #ring: ReadableSpan[] = [];
  readonly #keptAt = new Float64Array(MOST_SPANS);
  #next = 0;

  /** Keeps a span. */
  add(span: ReadableSpan): void {
    // The ring grows until it is full: a service that does little holds little.
    this.#ring[this.#next] = span;
    this.#keptAt[this.#next] = Date.now();
    this.#next = (this.#next + 1) % MOST_SPANS;
  }

  /** The spans of a trace that this process recorded, in the order in which they ended. */
  read(traceId: string): Span[] {
    const expired = Date.now() - KEEP_MS;
    const found: Span[] = [];
    for (let i = 0; i < this.#ring.length; i++) {
      // Once the ring is full, the oldest stands where the next goes.
      const at = (this.#next + i) % this.#ring.length;
      const span = this.#ring[at];
      if (span?.spanContext().traceId === traceId && (this.#keptAt[at] ?? 0) > expired) found.push(toMessage(span));
    }
    return found;
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
