// Every method of the contract that has an HTTP rule, as a route: JSON in, one call over the mesh, JSON or a stream out.
import type { ServerResponse } from "node:http";
import type { JsonValue } from "@bufbuild/protobuf";
import { bytesToJson, type MethodContract } from "@warren/contract";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Assertions } from "../identity/assertions.ts";
import { type Format, notAcceptable, preferredFormat, streamFormats } from "./accept.ts";
import type { Admission } from "./admission.ts";
import { ask, type Backend, type EdgeCallOptions, idempotencyKeyOf } from "./backend.ts";
import { type StreamFormat, writeStream } from "./event-stream.ts";
import { badRequest, type Problem } from "./problem.ts";
import type { RequestContexts } from "./request-context.ts";
import { countTokens } from "./usage.ts";
import type { ContractRoute } from "./routes.ts";
import { type MeshRequest, readRequest } from "./transcode.ts";
import type { WebSocketStreams } from "./websocket/streams.ts";

export interface RestDependencies {
  readonly mesh: Backend;
  readonly contexts: RequestContexts;
  readonly admission: Admission;
  readonly assertions: Assertions;
  readonly problemOf: (thrown: unknown) => Problem;
  /** Time between two signs of life on a quiet stream, in milliseconds. */
  readonly heartbeatMs: number;
  /** Fires when the gateway stops and will wait no longer: ends what is still in flight. */
  readonly stopping: AbortSignal;
}

export interface ContractDependencies extends RestDependencies {
  readonly webSockets: Pick<WebSocketStreams, "serve" | "take">;
}

/** Adds the contract's routes to a server. */
export function serveContract(
  app: FastifyInstance,
  routes: readonly ContractRoute[],
  deps: ContractDependencies,
): void {
  deps.webSockets.serve(app, routes);
  for (const route of routes)
    app.route({
      method: route.verb,
      url: route.path,
      config: { policy: route },
      handler: (request, reply) => serve(route, request, reply, deps),
    });
}

async function serve(
  route: ContractRoute,
  request: FastifyRequest,
  reply: FastifyReply,
  deps: ContractDependencies,
): Promise<unknown> {
  const { body } = request as { body: JsonValue | undefined };
  const read = (method: MethodContract): MeshRequest => {
    if (!route.hasBody) refuseBody(request);
    const params = request.params as Record<string, string>;
    return readRequest(route, method, { params, query: queryOf(request), body });
  };
  const { streaming: streamed } = route;
  const taken = streamed && deps.webSockets.take(route, request, reply, () => read(streamed));
  if (taken) return await taken;
  const offered: Format[] = [...(route.unary ? ["json" as const] : []), ...(streamed ? streamFormats : [])];
  const wanted = preferredFormat(request.headers.accept, offered);
  if (wanted === undefined) throw notAcceptable(offered);
  const method = wanted === "json" ? route.unary : streamed;
  if (method === undefined) throw new Error(`The route ${route.template} has no method`);
  const call = read(method);
  const options = callOptions(request, reply.raw, deps);
  if (wanted !== "json") return await stream(method, call, wanted, { request, reply, options, deps });
  const answer = bytesToJson(method.output, await ask(deps.mesh, method, call, options));
  countTokens(deps.admission, request, () => answer);
  return reply.type("application/json; charset=utf-8").send(JSON.stringify(answer));
}

async function stream(
  method: MethodContract,
  { bytes, key }: MeshRequest,
  format: StreamFormat,
  {
    request,
    reply,
    options,
    deps,
  }: { request: FastifyRequest; reply: FastifyReply; options: EdgeCallOptions; deps: RestDependencies },
): Promise<FastifyReply> {
  await writeStream({
    response: reply.raw,
    headers: reply.getHeaders(),
    format,
    type: method.output,
    messages: deps.mesh.stream(method, bytes, options, key),
    heartbeatMs: deps.heartbeatMs,
    problemOf: deps.problemOf,
    requestId: deps.contexts.of(request.raw).id,
    observe: (json) => countTokens(deps.admission, request, () => json),
    onStart: () => {
      // From here on the response is written by hand, under the headers gathered so far.
      void reply.hijack();
    },
  });
  return reply;
}

/**
 * What a request says of the calls that are made for it: by whom, and until when.
 * @throws Problem 400 for a malformed Idempotency-Key.
 */
export function callOptions(
  request: FastifyRequest,
  response: ServerResponse,
  deps: Pick<RestDependencies, "admission" | "assertions" | "stopping">,
): EdgeCallOptions {
  const { identity, address } = deps.admission.of(request);
  return {
    signal: untilGone(response, deps.stopping),
    identity,
    assertion: deps.assertions.of(identity, address),
    idempotencyKey: idempotencyKeyOf(request.headers),
  };
}

/** Fires when the client has gone before its response was complete, or the gateway waits no longer. */
function untilGone(response: ServerResponse, stopping: AbortSignal): AbortSignal {
  const gone = new AbortController();
  const stop = (): void => gone.abort();
  stopping.addEventListener("abort", stop);
  response.once("close", () => {
    stopping.removeEventListener("abort", stop);
    if (!response.writableFinished) gone.abort();
  });
  return gone.signal;
}

function queryOf({ raw }: FastifyRequest): string {
  const [beforeFragment = ""] = (raw.url ?? "").split("#");
  const at = beforeFragment.indexOf("?");
  return at < 0 ? "" : beforeFragment.slice(at + 1);
}

/** A body where the contract knows none would be dropped without a word. */
function refuseBody({ raw, body }: FastifyRequest): void {
  const parsed = typeof body === "object" && body !== null && Object.keys(body).length === 0 ? undefined : body;
  const unread =
    body === undefined &&
    (Number(raw.headers["content-length"] ?? 0) > 0 || raw.headers["transfer-encoding"] !== undefined);
  if ((parsed !== undefined && parsed !== null) || unread)
    throw badRequest("UNEXPECTED_BODY", "This request takes no body");
}
