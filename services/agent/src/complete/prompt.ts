// A caller's own conversation as one step of a model, once it is a conversation that models take.
import { RpcError, StatusCode, type StatusDetails } from "@warren/mesh";
import { type CompleteRequest, Role, ToolChoice } from "@warren/proto/warren/agent/v1/agent";
import type { JsonObject, ModelMessage, Sampling, StepRequest } from "../model/provider.ts";

type Violation = NonNullable<StatusDetails["violations"]>[number];

/**
 * The step that a request asks for.
 * @throws RpcError INVALID_ARGUMENT naming each message or tool that is out of place.
 */
export function promptOf(request: CompleteRequest, signal: AbortSignal): StepRequest {
  const found = [...outOfPlace(request.messages), ...toolFaults(request)];
  if (found.length > 0) {
    const text = found.map(({ field, description }) => `${field} ${description}`).join("; ");
    throw new RpcError(StatusCode.INVALID_ARGUMENT, text, { violations: found });
  }
  const system = request.messages.filter(({ role }) => role === Role.SYSTEM).map(({ text }) => text);
  return {
    // Wherever they stand in the conversation: most providers take instructions in one place alone.
    instructions: system.join("\n\n"),
    messages: messagesOf(request.messages),
    tools: request.tools.map(({ name, description, parameters }) => ({
      name,
      description,
      inputSchema: { ...parameters, type: "object", properties: (parameters?.["properties"] ?? {}) as JsonObject },
    })),
    toolUse: toolUseOf(request),
    toolsChosen: true,
    sampling: samplingOf(request),
    ...(request.json ? { json: request.jsonSchema ? { schema: request.jsonSchema as JsonObject } : {} } : {}),
    signal,
  };
}

/** What models refuse: calls without answers, answers without calls. */
function outOfPlace(messages: CompleteRequest["messages"]): Violation[] {
  const found: Violation[] = [];
  let unanswered = new Set<string>();
  let asked = 0;
  for (const [index, { role, toolCalls, toolCallId }] of messages.entries()) {
    const field = `messages[${index}]`;
    if (role === Role.UNSPECIFIED) found.push({ field: `${field}.role`, description: "is required" });
    if (role === Role.TOOL) {
      if (!unanswered.delete(toolCallId))
        found.push({ field: `${field}.toolCallId`, description: "answers no call of the assistant before it" });
      continue;
    }
    if (role === Role.SYSTEM) continue;
    found.push(...withoutAnswer(unanswered, asked));
    if (role !== Role.ASSISTANT && toolCalls.length > 0)
      found.push({ field: `${field}.toolCalls`, description: "belongs to the assistant" });
    unanswered = new Set(toolCalls.map((call) => call.id));
    asked = index;
    if (unanswered.size < toolCalls.length)
      found.push({ field: `${field}.toolCalls`, description: "has two calls of the same id" });
  }
  return [...found, ...withoutAnswer(unanswered, asked)];
}

function withoutAnswer(unanswered: ReadonlySet<string>, asked: number): Violation[] {
  if (unanswered.size === 0) return [];
  return [{ field: `messages[${asked}].toolCalls`, description: "has a call that no tool message after it answers" }];
}

function toolFaults({ tools, toolChoice, toolName }: CompleteRequest): Violation[] {
  const names = new Set(tools.map((tool) => tool.name));
  const found: Violation[] = [];
  if (names.size < tools.length) found.push({ field: "tools", description: "has two tools of the same name" });
  if (toolChoice === ToolChoice.REQUIRED && tools.length === 0)
    found.push({ field: "toolChoice", description: "asks for a call, and there are no tools" });
  if (toolChoice === ToolChoice.FUNCTION && !names.has(toolName))
    found.push({ field: "toolChoice", description: "names no tool of the request" });
  return found;
}

function messagesOf(messages: CompleteRequest["messages"]): ModelMessage[] {
  const names = new Map<string, string>();
  return messages.flatMap(({ role, text, toolCalls, toolCallId }): ModelMessage[] => {
    if (role === Role.USER) return [{ role: "user", text }];
    if (role === Role.TOOL)
      return [{ role: "tool", callId: toolCallId, name: names.get(toolCallId) ?? "", text, failed: false }];
    if (role !== Role.ASSISTANT) return [];
    for (const call of toolCalls) names.set(call.id, call.name);
    const calls = toolCalls.map(({ id, name, arguments: given = {} }) => ({
      id,
      name,
      arguments: given as JsonObject,
    }));
    return [{ role: "assistant", text, toolCalls: calls }];
  });
}

function toolUseOf({ toolChoice, toolName, tools }: CompleteRequest): StepRequest["toolUse"] {
  if (toolChoice === ToolChoice.REQUIRED) return "required";
  if (toolChoice === ToolChoice.FUNCTION) return { tool: toolName };
  return toolChoice === ToolChoice.NONE && tools.length > 0 ? "none" : "auto";
}

function samplingOf(request: CompleteRequest): Sampling {
  const { maxOutputTokens, stop, temperature, topP, presencePenalty, frequencyPenalty, seed } = request;
  return {
    ...(maxOutputTokens === 0 ? {} : { maxOutputTokens }),
    ...(stop.length === 0 ? {} : { stop }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { topP }),
    ...(presencePenalty === undefined ? {} : { presencePenalty }),
    ...(frequencyPenalty === undefined ? {} : { frequencyPenalty }),
    ...(seed === undefined ? {} : { seed }),
  };
}
