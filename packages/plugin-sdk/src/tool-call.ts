import { schemaProblems } from "./arguments.ts";
import type { ToolContext, ToolDefinition, ToolOutput } from "./definition.ts";
import { isObject } from "./lines.ts";
import { beginSpan, spansMetaKey } from "./trace.ts";

/** What a call comes with, besides its arguments. */
export interface CallInput {
  readonly name: string;
  readonly tool: ToolDefinition;
  readonly args: Record<string, unknown>;
  /** As the caller sent it; not trusted to be valid. */
  readonly traceparent: unknown;
  /** Makes the context, once the call has a span of its own. */
  readonly contextFor: (traceparent: string | undefined) => ToolContext;
}

/**
 * Runs a tool and makes the MCP result. Bad arguments and what the tool throws are results too, with `isError`, as MCP asks
 * (2025-11-25, server/tools, error handling): a model reads them and mends its call.
 */
export async function callTool({ name, tool, args, traceparent, contextFor }: CallInput): Promise<object> {
  const span = beginSpan(`execute_tool ${name}`, traceparent);
  const context = contextFor(span?.traceparent);
  const result = await outcome(name, tool, args, context);
  const report = span?.end("isError" in result ? "error" : "ok");
  return report === undefined ? result : { ...result, _meta: { [spansMetaKey]: [report] } };
}

async function outcome(
  name: string,
  tool: ToolDefinition,
  args: Record<string, unknown>,
  context: ToolContext,
): Promise<object> {
  try {
    const problems = schemaProblems(tool.inputSchema, args);
    if (problems.length > 0) return failure(`${name}: ${problems.slice(0, 5).join("; ")}`);
    const result = toResult(await tool.run(args, context));
    // Here, and not when it is sent: an answer that is no JSON is the tool's error.
    JSON.stringify(result);
    return result;
  } catch (error) {
    if (!context.signal.aborted) context.log(`${name} failed:`, error);
    return failure(error instanceof Error && error.message !== "" ? error.message : `${name} failed: ${String(error)}`);
  }
}

function failure(message: string): object {
  return { content: [{ type: "text", text: message }], isError: true };
}

function toResult(output: ToolOutput): object {
  if (output === undefined || output === null) return { content: [] };
  if (Array.isArray(output)) {
    const isContent = output.every((block) => isObject(block) && typeof block["type"] === "string");
    if (!isContent) throw new TypeError("a tool that returns an array must return content blocks, each with a type");
    return { content: output };
  }
  if (typeof output === "object") {
    return { content: [{ type: "text", text: JSON.stringify(output) }], structuredContent: output };
  }
  return { content: [{ type: "text", text: String(output) }] };
}
