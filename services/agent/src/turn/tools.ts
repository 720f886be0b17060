// Calls a plugin's tool and turns whatever comes back into a result that a model can read. A failed call is a result, too.
import { type CallContext, RpcError, type ServiceClient } from "@warren/mesh";
import type { ToolCall } from "@warren/proto/warren/agent/v1/agent";
import type { PluginServiceDefinition, ToolResult } from "@warren/proto/warren/plugins/v1/plugins";

/** What a tool call needs beside itself. */
export interface ToolCallOptions {
  /** Whose call it is; its deadline and caller travel on. */
  readonly ctx: CallContext;
  readonly signal: AbortSignal;
  /** The same for every try of this call, so that no tool runs twice. */
  readonly idempotencyKey: string;
}

/**
 * Calls a tool.
 * @returns the call with `result` or `error`, and how long it took
 * @throws the signal's reason when the turn ends meanwhile; nothing else.
 */
export type ToolRunner = (call: ToolCall, options: ToolCallOptions) => Promise<ToolCall>;

/** Longest result that a model gets to read, in bytes of UTF-8. */
export const MAX_RESULT_BYTES = 64 * 1024;

/** Calls tools through the plugin hosts, each for `timeoutMs` at most. */
export function createToolRunner(
  plugins: Pick<ServiceClient<PluginServiceDefinition>, "callTool">,
  timeoutMs: number,
): ToolRunner {
  return async (call, { ctx, signal, idempotencyKey }) => {
    const started = performance.now();
    const ended = (outcome: Pick<ToolCall, "result" | "error">): ToolCall => ({
      ...call,
      ...outcome,
      durationMs: Math.round((performance.now() - started) * 1000) / 1000,
    });
    try {
      const answer = await plugins.callTool(
        { pluginId: call.pluginId, tool: call.name, arguments: call.arguments },
        { ...travelling(ctx), signal, idempotencyKey, timeoutMs },
      );
      const text = resultText(answer);
      return ended(
        answer.isError
          ? { result: "", error: text === "" ? "the tool failed without saying why" : text }
          : { result: text, error: "" },
      );
    } catch (error) {
      signal.throwIfAborted();
      return ended({
        result: "",
        error: error instanceof RpcError ? error.message : "the call failed inside the agent",
      });
    }
  };
}

/** What of a context a nested call passes on: a context's own properties may be getters, which spreading would lose. */
function travelling(ctx: CallContext): Pick<CallContext, "deadline" | "assertion"> {
  return { deadline: ctx.deadline, assertion: ctx.assertion };
}

/** What a tool answered, as text: MCP content blocks joined by lines, or the structured form where there are none. */
export function resultText(answer: Pick<ToolResult, "content" | "structuredContent">): string {
  const parts = answer.content.map(blockText).filter((part) => part !== "");
  if (parts.length === 0 && answer.structuredContent) parts.push(JSON.stringify(answer.structuredContent));
  return shorten(parts.join("\n"));
}

function blockText(block: Readonly<Record<string, unknown>>): string {
  const { type } = block;
  if (type === "text") return textOf(block["text"]);
  const resource = type === "resource" ? ((block["resource"] ?? {}) as Readonly<Record<string, unknown>>) : block;
  if (typeof resource["text"] === "string") return resource["text"];
  // What is no text is named, so that the model knows that it was there.
  return `[${[type, resource["uri"], resource["mimeType"]].map(textOf).filter(Boolean).join(" ")}]`;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function shorten(text: string): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= MAX_RESULT_BYTES) return text;
  const note = `… (shortened from ${bytes.length} bytes)`;
  let end = MAX_RESULT_BYTES - Buffer.byteLength(note);
  // Not inside a character: continuation bytes are 10xxxxxx.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end).toString() + note;
}
