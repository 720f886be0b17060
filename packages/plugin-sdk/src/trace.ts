import { randomBytes } from "node:crypto";

/** Where the spans of a call travel in its result's `_meta`. */
export const spansMetaKey = "dev.warren/spans";

/** A span as it travels to the host, which puts it into the trace of the request. */
export interface SpanReport {
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  /** Nanoseconds since 1970, as text: they do not fit a JSON number. */
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: "ok" | "error";
}

/** A span that has begun. */
export interface OpenSpan {
  /** W3C Trace Context for whoever is called from within this span. */
  readonly traceparent: string;
  end(status: SpanReport["status"]): SpanReport;
}

/** Begins a span below the caller's; nothing where the caller sent no valid `traceparent` (W3C Trace Context, level 1). */
export function beginSpan(name: string, traceparent: unknown): OpenSpan | undefined {
  const match =
    typeof traceparent === "string" ? /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent) : null;
  const [, traceId, parentSpanId, flags] = match ?? [];
  if (traceId === undefined || parentSpanId === undefined || /^0+$/.test(traceId) || /^0+$/.test(parentSpanId)) {
    return undefined;
  }
  const spanId = randomBytes(8).toString("hex");
  const startTimeUnixNano = nowInNanoseconds();
  return {
    traceparent: `00-${traceId}-${spanId}-${flags}`,
    end: (status) => ({
      spanId,
      parentSpanId,
      name,
      startTimeUnixNano: String(startTimeUnixNano),
      endTimeUnixNano: String(nowInNanoseconds()),
      status,
    }),
  };
}

function nowInNanoseconds(): bigint {
  const milliseconds = performance.timeOrigin + performance.now();
  return BigInt(Math.round(milliseconds * 1000)) * 1000n;
}
