// A request of OpenAI's Responses API as one of the agent's contract. Nothing is kept: the conversation comes with each.
// https://platform.openai.com/docs/api-reference/responses/create
import { CompleteRequest, Role } from "@warren/proto/warren/agent/v1/agent";
import { z } from "zod";
import {
  formatOf,
  functionFields,
  jsonText,
  notServed,
  read,
  sampling,
  textIn,
  toolChoiceOf,
  withoutEffect,
} from "./fields.ts";

const item = z.preprocess(
  // The short form of a message has no type.
  (value) =>
    typeof value === "object" && value !== null && !("type" in value) ? { type: "message", ...value } : value,
  z.discriminatedUnion(
    "type",
    [
      z.object({
        type: z.literal("message"),
        role: z.enum(["user", "assistant", "system", "developer"]),
        content: textIn(["input_text", "output_text", "text", "refusal"]),
      }),
      z.object({ type: z.literal("function_call"), call_id: z.string(), name: z.string(), arguments: jsonText }),
      z.object({
        type: z.literal("function_call_output"),
        call_id: z.string(),
        output: textIn(["input_text", "text"]),
      }),
      // What another service's model thought: nothing that ours could use.
      z.object({ type: z.literal("reasoning") }),
    ],
    "must be a message, function_call or function_call_output: no other item is understood",
  ),
);

type Item = z.output<typeof item>;

/** The body of `POST /v1/responses`. */
export const responsesRequest = z.strictObject({
  model: z.string().min(1),
  input: z.union([
    z.string().transform((said): Item[] => [{ type: "message", role: "user", content: said }]),
    z.array(item),
  ]),
  instructions: z.string().nullish(),
  stream: z.boolean().nullish(),
  tools: z
    .array(
      z.object({
        type: z.literal("function", "must be function: the caller runs its tools itself"),
        ...functionFields.shape,
      }),
    )
    .nullish(),
  tool_choice: z
    .union(
      [z.enum(["none", "auto", "required"]), z.object({ type: z.literal("function"), name: z.string() })],
      "must be none, auto, required, or a function's name as an object",
    )
    .nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  max_output_tokens: z.int().min(1).nullish(),
  ...sampling,
  text: z
    .object({
      format: z
        .discriminatedUnion(
          "type",
          [
            z.object({ type: z.literal("text") }),
            z.object({ type: z.literal("json_object") }),
            z.object({ type: z.literal("json_schema"), schema: z.record(z.string(), z.unknown()).nullish() }),
          ],
          "must be text, json_object or json_schema",
        )
        .nullish(),
    })
    .nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
  previous_response_id: notServed("responses are not kept: send the whole conversation in input"),
  conversation: notServed("conversations are not kept under this route: send them in input, or use /v1/chat"),
  background: z.literal(false, "responses are not kept: they cannot be asked for later").nullish(),
  prompt: notServed("there are no stored prompts"),
  top_logprobs: z.literal(0, "no probabilities are told").nullish(),
  context_management: withoutEffect,
  include: withoutEffect,
  max_tool_calls: withoutEffect,
  moderation: withoutEffect,
  prompt_cache_key: withoutEffect,
  prompt_cache_options: withoutEffect,
  prompt_cache_retention: withoutEffect,
  reasoning: withoutEffect,
  safety_identifier: withoutEffect,
  service_tier: withoutEffect,
  store: withoutEffect,
  stream_options: withoutEffect,
  truncation: withoutEffect,
  user: withoutEffect,
});

/** A response that is asked for. */
export interface ResponsesRequest {
  readonly complete: CompleteRequest;
  readonly stream: boolean;
  /** What the response repeats of its request. */
  readonly echo: Readonly<Record<string, unknown>>;
}

/**
 * Reads the body of `POST /v1/responses`.
 * @throws Problem 400 naming each field that is wrong.
 */
export function readResponsesRequest(body: unknown): ResponsesRequest {
  const given = read(responsesRequest, body);
  const { instructions, tools, tool_choice, parallel_tool_calls, max_output_tokens, temperature, top_p } = given;
  const format = given.text?.format;
  const system = instructions ? [{ role: Role.SYSTEM, text: instructions }] : [];
  const complete = CompleteRequest.fromPartial({
    model: given.model,
    messages: [...system, ...promptMessages(given.input)],
    tools: (tools ?? []).map(({ name, description, parameters }) => ({
      name,
      description: description ?? "",
      parameters: parameters ?? undefined,
    })),
    ...toolChoiceOf(tool_choice),
    singleCall: parallel_tool_calls === false,
    maxOutputTokens: max_output_tokens ?? 0,
    temperature: temperature ?? undefined,
    topP: top_p ?? undefined,
    ...formatOf(format),
  });
  const echo = {
    instructions: instructions ?? null,
    max_output_tokens: max_output_tokens ?? null,
    metadata: given.metadata ?? {},
    parallel_tool_calls: parallel_tool_calls ?? true,
    previous_response_id: null,
    store: false,
    temperature: temperature ?? null,
    text: { format: format ?? { type: "text" } },
    tool_choice: tool_choice ?? "auto",
    tools: (tools ?? []).map((tool) => ({ ...tool, parameters: tool.parameters ?? null, strict: false })),
    top_p: top_p ?? null,
    truncation: "disabled",
  };
  return { complete, stream: given.stream ?? false, echo };
}

const ROLES = { user: Role.USER, assistant: Role.ASSISTANT, system: Role.SYSTEM, developer: Role.SYSTEM };

type Prompt = Pick<CompleteRequest["messages"][number], "role" | "text" | "toolCalls" | "toolCallId">;

/** Items as messages: calls that stand together are one message of the assistant, with what it said right before them. */
function promptMessages(items: readonly Item[]): Prompt[] {
  const messages: Prompt[] = [];
  for (const each of items) {
    if (each.type === "reasoning") continue;
    if (each.type === "function_call") {
      const { call_id: id, name, arguments: args } = each;
      const last = messages.at(-1);
      const call = { id, name, arguments: args };
      if (last?.role === Role.ASSISTANT) last.toolCalls.push(call);
      else messages.push({ role: Role.ASSISTANT, text: "", toolCalls: [call], toolCallId: "" });
    } else if (each.type === "function_call_output")
      messages.push({ role: Role.TOOL, text: each.output, toolCalls: [], toolCallId: each.call_id });
    else messages.push({ role: ROLES[each.role], text: each.content, toolCalls: [], toolCallId: "" });
  }
  return messages;
}
