// The routes of OpenAI's clients in the OpenAPI document. Bodies are described from the schemas that read them.
import { z } from "zod";
import type { RoutePolicy } from "../routes.ts";
import { chatRequest } from "./chat-request.ts";
import { responsesRequest } from "./responses-request.ts";
import { openAiPolicies } from "./serve.ts";

type Json = Readonly<Record<string, unknown>>;

const text = { type: "string" };
const count = { type: "integer", minimum: 0 };

function object(properties: Json, required = Object.keys(properties)): Json {
  return { type: "object", properties, required };
}

const error: Json = object({
  error: object({ message: text, type: text, param: { type: ["string", "null"] }, code: text }),
});

const completion: Json = object({
  id: text,
  object: { const: "chat.completion" },
  created: count,
  model: text,
  choices: { type: "array", items: object({ index: count, message: { type: "object" }, finish_reason: text }) },
  usage: object({ prompt_tokens: count, completion_tokens: count, total_tokens: count }),
});

const response: Json = object({
  id: text,
  object: { const: "response" },
  created_at: count,
  status: { type: "string", enum: ["completed", "incomplete"] },
  model: text,
  output: { type: "array", items: object({ id: text, type: { type: "string", enum: ["message", "function_call"] } }) },
  usage: object({ input_tokens: count, output_tokens: count, total_tokens: count }),
});

const model: Json = object({ id: text, object: { const: "model" }, created: count, owned_by: text });

/** The paths. @param security What an operation of a scope needs, as the other routes say it. */
export function openAiPaths(security: (scope: string) => Json): Record<string, Record<string, unknown>> {
  const operation = (operationId: string, policy: RoutePolicy, answer: Json, more: Json = {}): Json => ({
    operationId,
    tags: ["openai"],
    ...more,
    responses: {
      "200": { description: "Done", content: { "application/json": { schema: answer }, ...streamOf(more) } },
      default: { description: "An error in OpenAI's form", content: { "application/json": { schema: error } } },
    },
    ...security(policy.scope),
    "x-warren-limit-class": policy.limitClass,
  });
  const { chat, responses, models, model: one } = openAiPolicies;
  const parameters = [{ name: "model", in: "path", required: true, schema: text }];
  return {
    [chat.template]: { post: operation("CreateChatCompletion", chat, completion, bodyOf(chatRequest)) },
    [responses.template]: { post: operation("CreateResponse", responses, response, bodyOf(responsesRequest)) },
    [models.template]: {
      get: operation(
        "ListModels",
        models,
        object({ object: { const: "list" }, data: { type: "array", items: model } }),
      ),
    },
    [one.template]: { get: operation("GetModel", one, model, { parameters }) },
  };
}

function bodyOf(schema: z.ZodType): Json {
  const { $schema: _, ...body } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  return { requestBody: { required: true, content: { "application/json": { schema: body } } } };
}

/** With `stream: true` the answer is server-sent events. */
function streamOf({ requestBody }: Json): Json {
  return requestBody === undefined ? {} : { "text/event-stream": { schema: text } };
}
