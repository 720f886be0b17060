// The span of one tool call, its context for the plugin, and the spans that the plugin sends back. Never arguments or results.
import { isSpanContextValid, type Span, SpanKind, SpanStatusCode, type Tracer } from "@opentelemetry/api";
import type { ForeignSpan } from "@warren/service";
import { foreignSpans, SPANS_META_KEY } from "./foreign-spans.ts";
import type { CallResult } from "./mcp-client.ts";

/** Where calls are traced. */
export interface CallTracing {
  readonly tracer: Tracer;
  /** Takes a plugin's own span into the trace. `service` is `plugin:<id>`. */
  readonly recordForeignSpan: (service: string, span: ForeignSpan) => void;
}

/**
 * Runs a tool call in a CLIENT span named as OpenTelemetry's conventions for MCP have it
 * (https://opentelemetry.io/docs/specs/semconv/gen-ai/mcp/).
 */
export async function traceCall(
  { tracer, recordForeignSpan }: CallTracing,
  pluginId: string,
  tool: string,
  call: (traceparent: string | undefined) => Promise<CallResult>,
): Promise<CallResult> {
  const attributes = {
    "mcp.method.name": "tools/call",
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": tool,
    "warren.plugin.id": pluginId,
  };
  return tracer.startActiveSpan(`tools/call ${tool}`, { kind: SpanKind.CLIENT, attributes }, async (span) => {
    const startTime = wallClock();
    try {
      const result = await call(traceparentOf(span));
      if (result.isError) span.setStatus({ code: SpanStatusCode.ERROR, message: "the tool reports an error" });
      const { traceId, spanId } = span.spanContext();
      const reported = foreignSpans(result.meta[SPANS_META_KEY], { traceId, spanId, startTime, endTime: wallClock() });
      if (span.isRecording()) for (const each of reported) recordForeignSpan(`plugin:${pluginId}`, each);
      return result;
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      throw error;
    } finally {
      span.end();
    }
  });
}

function traceparentOf(span: Span): string | undefined {
  const context = span.spanContext();
  if (!isSpanContextValid(context)) return undefined;
  return `00-${context.traceId}-${context.spanId}-${context.traceFlags.toString(16).padStart(2, "0")}`;
}

/** Milliseconds since 1970, with fractions. */
function wallClock(): number {
  return performance.timeOrigin + performance.now();
}
