// The routes that OpenAI's clients speak to: /v1/chat/completions, /v1/responses, /v1/models. They differ from the contract's
// routes in form alone: tokens, limits, traces and cancellation are the same.
import type { Mesh } from "@warren/mesh";
import {
  AgentServiceDefinition,
  type CompleteEvent,
  type CompleteRequest,
  type Usage,
} from "@warren/proto/warren/agent/v1/agent";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Counter } from "@warren/service";
import type { Assertions } from "../../identity/assertions.ts";
import type { Admission } from "../admission.ts";
import { serverSentEvents, writePieces } from "../event-stream.ts";
import { Problem } from "../problem.ts";
import { callOptions } from "../rest.ts";
import type { RoutePolicy } from "../routes.ts";
import { data } from "./answer.ts";
import { chatChunks, chatCompletion } from "./chat-reply.ts";
import { readChatRequest } from "./chat-request.ts";
import { openAiError, requestField } from "./errors.ts";
import { ResponseEvents, wholeResponse } from "./responses-reply.ts";
import { readResponsesRequest } from "./responses-request.ts";

export interface OpenAiDependencies {
  readonly mesh: Pick<Mesh, "client">;
  readonly admission: Admission;
  readonly assertions: Assertions;
  readonly stopping: AbortSignal;
  readonly heartbeatMs: number;
  readonly problemFor: (thrown: unknown, request: FastifyRequest) => Problem;
  /** Tokens that models took and gave. */
  readonly tokens: Counter<"route" | "kind">;
}

const chat: RoutePolicy = { template: "/v1/chat/completions", scope: "chat", limitClass: "chat" };
const responses: RoutePolicy = { template: "/v1/responses", scope: "chat", limitClass: "chat" };
const models: RoutePolicy = { template: "/v1/models", scope: "chat", limitClass: "read" };
const model: RoutePolicy = { template: "/v1/models/{model}", scope: "chat", limitClass: "read" };

/** The policies of these routes, for the document that describes them. */
export const openAiPolicies = { chat, responses, models, model } as const;

/** Adds the routes. */
export function serveOpenAi(app: FastifyInstance, deps: OpenAiDependencies): void {
  const agent = deps.mesh.client(AgentServiceDefinition);

  const ask = (
    { template: route }: RoutePolicy,
    complete: CompleteRequest,
    request: FastifyRequest,
    reply: FastifyReply,
  ): AsyncIterable<CompleteEvent> =>
    counted(agent.complete(complete, callOptions(request, reply.raw, deps)), ({ inputTokens, outputTokens }) => {
      deps.tokens.inc({ route, kind: "input" }, inputTokens);
      deps.tokens.inc({ route, kind: "output" }, outputTokens);
      deps.admission.used(request, inputTokens + outputTokens);
    });

  const listed = async (request: FastifyRequest, reply: FastifyReply): Promise<ModelObject[]> =>
    (await agent.listModels({}, callOptions(request, reply.raw, deps))).models.map(modelObject);

  void app.register(async (scope) => {
    scope.setErrorHandler((thrown, request, reply) => {
      const problem = inRequestTerms(deps.problemFor(thrown, request));
      return reply
        .code(problem.status)
        .headers({ ...problem.options.headers })
        .type(JSON_TYPE)
        .send(JSON.stringify(openAiError(problem)));
    });

    scope.post(chat.template, { config: { policy: chat } }, async (request, reply) => {
      const wanted = readChatRequest(request.body);
      const events = ask(chat, wanted.complete, request, reply);
      if (!wanted.stream) return send(reply, await chatCompletion(events));
      const failure = (problem: Problem): string => data(openAiError(problem));
      return await stream({ request, reply, deps, pieces: chatChunks(wanted, events), failure });
    });

    scope.post(responses.template, { config: { policy: responses } }, async (request, reply) => {
      const wanted = readResponsesRequest(request.body);
      const events = ask(responses, wanted.complete, request, reply);
      if (!wanted.stream) return send(reply, await wholeResponse(wanted, events));
      const pieces = new ResponseEvents(wanted, events);
      const failure = (problem: Problem): string => pieces.event("error", openAiError(problem).error);
      return await stream({ request, reply, deps, pieces, failure });
    });

    scope.get(models.template, { config: { policy: models } }, async (request, reply) =>
      send(reply, { object: "list", data: await listed(request, reply) }),
    );

    // A wildcard: names of models hold colons and slashes, encoded by some clients and by others not.
    scope.get("/v1/models/*", { config: { policy: model } }, async (request, reply) => {
      const { "*": id = "" } = request.params as { "*"?: string };
      const found = (await listed(request, reply)).find((each) => each.id === id);
      if (found) return send(reply, found);
      throw new Problem(404, {
        code: "MODEL_NOT_FOUND",
        detail: "There is no model of this name: /v1/models lists them",
      });
    });
  });
}

const JSON_TYPE = "application/json; charset=utf-8";

function send(reply: FastifyReply, body: object): FastifyReply {
  return reply.type(JSON_TYPE).send(JSON.stringify(body));
}

interface Streamed {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly deps: OpenAiDependencies;
  readonly pieces: AsyncIterable<string>;
  readonly failure: (problem: Problem) => string;
}

async function stream({ request, reply, deps, pieces, failure }: Streamed): Promise<FastifyReply> {
  await writePieces({
    response: reply.raw,
    headers: reply.getHeaders(),
    contentType: serverSentEvents.contentType,
    heartbeat: serverSentEvents.heartbeat,
    heartbeatMs: deps.heartbeatMs,
    pieces,
    failure: (thrown) => failure(inRequestTerms(deps.problemFor(thrown, request))),
    // From here on the response is written by hand, under the headers gathered so far.
    onStart: () => void reply.hijack(),
  });
  return reply;
}

/** Tells what an answer cost as it passes. */
async function* counted(
  events: AsyncIterable<CompleteEvent>,
  onUsage: (usage: Usage) => void,
): AsyncGenerator<CompleteEvent> {
  for await (const each of events) {
    if (each.event?.$case === "finished" && each.event.value.usage) onUsage(each.event.value.usage);
    yield each;
  }
}

/** The contract's faults under the names that the request has for its fields. */
function inRequestTerms(problem: Problem): Problem {
  const { errors } = problem.options;
  if (!errors) return problem;
  const named = errors.map(({ field, message }) => ({ field: requestField(field), message }));
  return new Problem(problem.status, { ...problem.options, errors: named });
}

interface ModelObject {
  readonly id: string;
  readonly object: "model";
  /** Not known. */
  readonly created: 0;
  readonly owned_by: string;
}

function modelObject({ id, owner }: { id: string; owner: string }): ModelObject {
  return { id, object: "model", created: 0, owned_by: owner };
}
