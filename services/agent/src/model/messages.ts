// Our messages and tools in the AI SDK's form.
import { jsonSchema, type ModelMessage as SdkMessage, tool, type ToolSet } from "ai";
import type { ModelMessage, ModelTool } from "./provider.ts";

type ToolMessage = Extract<SdkMessage, { role: "tool" }>;

/** The conversation; results that answer one message of the assistant stand together. */
export function toSdkMessages(messages: readonly ModelMessage[]): SdkMessage[] {
  const converted: SdkMessage[] = [];
  let results: ToolMessage["content"] | undefined;
  for (const message of messages) {
    if (message.role === "tool") {
      const part = {
        type: "tool-result" as const,
        toolCallId: message.callId,
        toolName: message.name,
        // Some providers refuse empty text.
        output: {
          type: message.failed ? ("error-text" as const) : ("text" as const),
          value: message.text || "(no output)",
        },
      };
      if (results) results.push(part);
      else converted.push({ role: "tool", content: (results = [part]) });
      continue;
    }
    results = undefined;
    if (message.role === "user") converted.push({ role: "user", content: message.text });
    else if (message.text !== "" || message.toolCalls.length > 0) {
      converted.push({
        role: "assistant",
        content: [
          ...(message.text === "" ? [] : [{ type: "text" as const, text: message.text }]),
          ...message.toolCalls.map((call) => ({
            type: "tool-call" as const,
            toolCallId: call.id,
            toolName: call.name,
            input: call.arguments,
          })),
        ],
      });
    }
  }
  return converted;
}

/** The tools, without anything that runs: calls come back to our own loop. */
export function toSdkTools(tools: readonly ModelTool[]): ToolSet {
  return Object.fromEntries(
    tools.map(({ name, description, inputSchema }) => [
      name,
      tool({ description, inputSchema: jsonSchema(inputSchema) }),
    ]),
  );
}
