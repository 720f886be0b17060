// A request of OpenAI's chat completions as one of the agent's contract.
// https://platform.openai.com/docs/api-reference/chat/create
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

const text = textIn(["text"]);

const functionCall = z.object({
  id: z.string(),
  type: z.literal("function", "must be function: other tools are not called here").default("function"),
  function: z.object({ name: z.string(), arguments: jsonText }),
});

const message = z.discriminatedUnion(
  "role",
  [
    z.object({ role: z.literal("system"), content: text }),
    z.object({ role: z.literal("developer"), content: text }),
    z.object({ role: z.literal("user"), content: text }),
    z.object({
      role: z.literal("assistant"),
      content: textIn(["text", "refusal"]).nullish(),
      refusal: z.string().nullish(),
      tool_calls: z.array(functionCall).nullish(),
      function_call: notServed("is deprecated: use tool_calls"),
    }),
    z.object({ role: z.literal("tool"), content: text, tool_call_id: z.string() }),
  ],
  "must be system, developer, user, assistant or tool",
);

/** The body of `POST /v1/chat/completions`. */
export const chatRequest = z.strictObject({
  model: z.string().min(1),
  messages: z.array(message).min(1),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  tools: z.array(z.object({ type: z.literal("function", "must be function"), function: functionFields })).nullish(),
  tool_choice: z
    .union(
      [
        z.enum(["none", "auto", "required"]),
        z.object({ type: z.literal("function"), function: z.object({ name: z.string() }) }),
      ],
      "must be none, auto, required, or a function's name as an object",
    )
    .nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(4)], "must be text, or at most 4 of them").nullish(),
  ...sampling,
  presence_penalty: z.number().nullish(),
  frequency_penalty: z.number().nullish(),
  seed: z.int32().nullish(),
  response_format: z
    .discriminatedUnion(
      "type",
      [
        z.object({ type: z.literal("text") }),
        z.object({ type: z.literal("json_object") }),
        z.object({
          type: z.literal("json_schema"),
          json_schema: z.object({ schema: z.record(z.string(), z.unknown()).nullish() }),
        }),
      ],
      "must be text, json_object or json_schema",
    )
    .nullish(),
  n: z.literal(1, "one answer is given to each request").nullish(),
  logprobs: z.literal(false, "no probabilities are told").nullish(),
  top_logprobs: z.literal(0, "no probabilities are told").nullish(),
  modalities: z.array(z.literal("text", "must be text")).nullish(),
  audio: notServed("answers are text"),
  functions: notServed("is deprecated: use tools"),
  function_call: notServed("is deprecated: use tool_choice"),
  web_search_options: notServed("nothing is searched here: offer a tool of your own"),
  logit_bias: z.record(z.string(), z.never("tokens cannot be weighted")).nullish(),
  metadata: withoutEffect,
  moderation: withoutEffect,
  prediction: withoutEffect,
  prompt_cache_key: withoutEffect,
  prompt_cache_options: withoutEffect,
  prompt_cache_retention: withoutEffect,
  reasoning_effort: withoutEffect,
  safety_identifier: withoutEffect,
  service_tier: withoutEffect,
  store: withoutEffect,
  user: withoutEffect,
  verbosity: withoutEffect,
});

/** A chat completion that is asked for. */
export interface ChatRequest {
  readonly complete: CompleteRequest;
  readonly stream: boolean;
  /** Whether a stream ends with a chunk that tells the usage. */
  readonly includeUsage: boolean;
}

/**
 * Reads the body of `POST /v1/chat/completions`.
 * @throws Problem 400 naming each field that is wrong.
 */
export function readChatRequest(body: unknown): ChatRequest {
  const given = read(chatRequest, body);
  const format = given.response_format;
  const choice = given.tool_choice;
  const complete = CompleteRequest.fromPartial({
    model: given.model,
    messages: given.messages.map(promptMessage),
    tools: (given.tools ?? []).map(({ function: { name, description, parameters } }) => ({
      name,
      description: description ?? "",
      parameters: parameters ?? undefined,
    })),
    ...toolChoiceOf(typeof choice === "object" ? choice?.function : choice),
    singleCall: given.parallel_tool_calls === false,
    maxOutputTokens: given.max_completion_tokens ?? given.max_tokens ?? 0,
    stop: given.stop ? [given.stop].flat() : [],
    temperature: given.temperature ?? undefined,
    topP: given.top_p ?? undefined,
    presencePenalty: given.presence_penalty ?? undefined,
    frequencyPenalty: given.frequency_penalty ?? undefined,
    seed: given.seed ?? undefined,
    ...formatOf(
      format && { type: format.type, ...("json_schema" in format ? { schema: format.json_schema.schema } : {}) },
    ),
  });
  const stream = given.stream ?? false;
  return { complete, stream, includeUsage: stream && given.stream_options?.include_usage === true };
}

const ROLES = {
  system: Role.SYSTEM,
  developer: Role.SYSTEM,
  user: Role.USER,
  assistant: Role.ASSISTANT,
  tool: Role.TOOL,
};

function promptMessage(given: z.output<typeof message>): Partial<CompleteRequest["messages"][number]> {
  const role = ROLES[given.role];
  if (given.role === "tool") return { role, text: given.content, toolCallId: given.tool_call_id };
  if (given.role !== "assistant") return { role, text: given.content };
  const toolCalls = (given.tool_calls ?? []).map(({ id, function: { name, arguments: args } }) => ({
    id,
    name,
    arguments: args,
  }));
  return { role, text: given.content ?? given.refusal ?? "", toolCalls };
}
