// Spans that a plugin reports of its own work. They join the trace only as far as they cannot lie about anybody else:
// below our span, within our span's time, as that plugin.

import type { ForeignSpan } from "@warren/service";

/** Where spans travel in a tool's answer. */
export const SPANS_META_KEY = "dev.warren/spans";

/** The span of the call that the plugin's spans belong under. */
export interface CallSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Milliseconds since 1970. */
  readonly startTime: number;
  readonly endTime: number;
}

const MAX_SPANS = 32;
const SPAN_ID = /^(?!0{16})[0-9a-f]{16}$/;

/**
 * The plugin's spans that hold: ids of 16 hexadecimal digits, none used twice, a chain of parents that begins at the
 * call, times pulled into the call. What does not hold is left out; a list that is no list, or too long, is empty.
 */
export function foreignSpans(reported: unknown, call: CallSpan): ForeignSpan[] {
  if (!Array.isArray(reported) || reported.length > MAX_SPANS) return [];
  const known = new Set([call.spanId]);
  const taken: ForeignSpan[] = [];
  let left = (reported as unknown[]).flatMap((each) => read(each, call) ?? []);
  // A child may end, and so be reported, before its parent: take what hangs on something known, until nothing does.
  for (let before = -1; before !== taken.length;) {
    before = taken.length;
    left = left.filter((span) => {
      if (!known.has(span.parentSpanId)) return true;
      if (!known.has(span.spanId)) taken.push(span);
      known.add(span.spanId);
      return false;
    });
  }
  return taken;
}

function read(value: unknown, call: CallSpan): ForeignSpan | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { spanId, parentSpanId, name, startTimeUnixNano, endTimeUnixNano, status } = value as Record<string, unknown>;
  if (typeof spanId !== "string" || !SPAN_ID.test(spanId)) return undefined;
  if (typeof parentSpanId !== "string" || !SPAN_ID.test(parentSpanId)) return undefined;
  if (typeof name !== "string" || !/^[\p{L}\p{N} ._/:@-]{1,128}$/u.test(name)) return undefined;
  const start = milliseconds(startTimeUnixNano);
  const end = milliseconds(endTimeUnixNano);
  if (start === undefined || end === undefined) return undefined;
  const startTime = clamp(start, call.startTime, call.endTime);
  const endTime = clamp(end, startTime, call.endTime);
  return { traceId: call.traceId, spanId, parentSpanId, name, startTime, endTime, failed: status === "error" };
}

/** Nanoseconds as milliseconds. OTLP's JSON writes 64-bit numbers as text; a plugin may also send a number. */
function milliseconds(nanoseconds: unknown): number | undefined {
  const isText = typeof nanoseconds === "string" && /^\d{1,20}$/.test(nanoseconds);
  const isNumber = typeof nanoseconds === "number" && Number.isFinite(nanoseconds) && nanoseconds >= 0;
  return isText || isNumber ? Number(nanoseconds) / 1e6 : undefined;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
