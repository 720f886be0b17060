// One call of a plugin's tool for an MCP client: its trace, its signs of life, and its failure as a result.
import { type CallToolResult, isCallToolResult } from "@modelcontextprotocol/server";
import { context, type Context, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { type CallOptions, RpcError, type ServiceClient, statusName } from "@warren/mesh";
import type { PluginServiceDefinition, ToolResult } from "@warren/proto/warren/plugins/v1/plugins";
import { contextFrom } from "../trace.ts";
import type { OfferedTool } from "./catalogue.ts";

const tracer = trace.getTracer("@warren/gateway");

/** As long as any plugin's own limit, which is what ends a call. */
const TIMEOUT_MS = 600_000;

export interface ToolCall {
  readonly offered: OfferedTool;
  readonly args: Readonly<Record<string, unknown>>;
  /** For whom, and until when. */
  readonly options: CallOptions;
  /** `traceparent` of the client's own span, where its request carries one. */
  readonly traceparent: unknown;
  /** Tells the client that the call goes on, and for how many seconds it has; absent where it did not ask. */
  readonly progress: ((seconds: number) => void) | undefined;
  /** What a client may see of a failure. */
  readonly explain: (thrown: unknown) => string;
  /** Time between two signs of life, in milliseconds. */
  readonly progressMs: number;
}

/** Calls the tool. @returns its result; what went wrong with the call is one, too, so that a model can read it. */
export async function callTool(
  plugins: Pick<ServiceClient<PluginServiceDefinition>, "callTool">,
  call: ToolCall,
): Promise<CallToolResult> {
  const { offered, args, options } = call;
  const stop = ticking(call);
  const { name } = offered.tool;
  const http = trace.getSpanContext(context.active());
  const attributes = {
    "mcp.method.name": "tools/call",
    "gen_ai.tool.name": name,
    "warren.plugin.id": offered.pluginId,
  };
  // The client's span, where there is one, is the caller; the HTTP request that carried it is linked.
  const caller = callerOf(call.traceparent);
  const links = caller && http ? [{ context: http }] : [];
  const parent = caller ?? context.active();
  const span = tracer.startSpan(`tools/call ${name}`, { kind: SpanKind.SERVER, attributes, links }, parent);
  const within = trace.setSpan(parent, span);
  try {
    const request = { pluginId: offered.pluginId, tool: offered.ownName, arguments: args };
    const answer = await context.with(within, () => plugins.callTool(request, { ...options, timeoutMs: TIMEOUT_MS }));
    if (answer.isError) span.setAttribute("error.type", "tool_error");
    return resultOf(answer);
  } catch (error) {
    span.setAttribute("error.type", error instanceof RpcError ? statusName(error.code) : "unknown");
    span.setStatus({ code: SpanStatusCode.ERROR });
    return failed(call.explain(error));
  } finally {
    stop();
    span.end();
  }
}

function callerOf(traceparent: unknown): Context | undefined {
  const found = contextFrom(typeof traceparent === "string" ? traceparent : undefined);
  return trace.getSpanContext(found) === undefined ? undefined : found;
}

function ticking({ progress, progressMs }: ToolCall): () => void {
  if (progress === undefined) return () => undefined;
  const started = performance.now();
  // Never the same twice: the protocol wants progress that grows.
  const timer = setInterval(() => progress(Math.ceil(performance.now() - started) / 1000), progressMs);
  return () => clearInterval(timer);
}

/** A plugin may answer with anything: what no client could read is a failure of the tool. */
function resultOf({ content, structuredContent, isError }: ToolResult): CallToolResult {
  const result = { content, ...(structuredContent ? { structuredContent } : {}), isError };
  return isCallToolResult(result) ? result : failed("The tool answered with what is no result of a tool");
}

function failed(text: string): CallToolResult {
  return { content: [{ type: "text", text }], isError: true };
}
