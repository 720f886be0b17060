// The agent's answer as a chat completion, whole or in chunks.
import { type CompleteEvent, FinishReason, type FunctionCall, type Usage } from "@warren/proto/warren/agent/v1/agent";
import { brokenOff, data, gather, newId, seconds } from "./answer.ts";
import type { ChatRequest } from "./chat-request.ts";

const REASONS: Readonly<Record<number, string>> = {
  [FinishReason.LENGTH]: "length",
  [FinishReason.TOOL_CALLS]: "tool_calls",
  [FinishReason.CONTENT_FILTER]: "content_filter",
};

/** The whole answer: an object `chat.completion`. */
export async function chatCompletion(events: AsyncIterable<CompleteEvent>): Promise<object> {
  const { text, calls, reason, usage } = await gather(events);
  const message = {
    role: "assistant",
    content: text === "" && calls.length > 0 ? null : text,
    refusal: null,
    ...(calls.length > 0 ? { tool_calls: calls.map(toolCall) } : {}),
  };
  return {
    id: newId("chatcmpl-"),
    object: "chat.completion",
    created: seconds(),
    model: usage.model,
    choices: [{ index: 0, message, logprobs: null, finish_reason: REASONS[reason] ?? "stop" }],
    usage: tokens(usage),
  };
}

/** The answer as server-sent events: objects `chat.completion.chunk`, then `[DONE]`. */
export async function* chatChunks(
  { complete, includeUsage }: ChatRequest,
  events: AsyncIterable<CompleteEvent>,
): AsyncGenerator<string> {
  const head = { id: newId("chatcmpl-"), object: "chat.completion.chunk", created: seconds() };
  // Which of several models answers is known at the end; until then the chunks name what was asked for.
  let { model } = complete;
  const chunk = (delta: object, finish_reason: string | null = null): string =>
    data({
      ...head,
      model,
      choices: [{ index: 0, delta, logprobs: null, finish_reason }],
      ...(includeUsage ? { usage: null } : {}),
    });
  let first = true;
  let calls = 0;
  for await (const { event } of events) {
    // Not before the model has begun: until then a failure still has a status of its own.
    if (first) yield chunk({ role: "assistant", content: "", refusal: null });
    first = false;
    if (event?.$case === "text") yield chunk({ content: event.value.text });
    if (event?.$case === "call") yield chunk({ tool_calls: [{ index: calls++, ...toolCall(event.value) }] });
    if (event?.$case !== "finished") continue;
    const { reason, usage } = event.value;
    model = usage?.model ?? model;
    yield chunk({}, REASONS[reason] ?? "stop");
    if (includeUsage && usage) yield data({ ...head, model, choices: [], usage: tokens(usage) });
    yield "data: [DONE]\n\n";
    return;
  }
  throw brokenOff();
}

function toolCall({ id, name, arguments: given }: FunctionCall): object {
  return { id, type: "function", function: { name, arguments: JSON.stringify(given ?? {}) } };
}

function tokens({ inputTokens, outputTokens, totalTokens }: Usage): object {
  return { prompt_tokens: inputTokens, completion_tokens: outputTokens, total_tokens: totalTokens };
}
