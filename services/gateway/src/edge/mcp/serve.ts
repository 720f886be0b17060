// POST /mcp: the Model Context Protocol over streamable HTTP, protocol versions 2026-07-28 and 2025-11-25 (and before), by the
// official server package. https://modelcontextprotocol.io/specification
import { randomUUID } from "node:crypto";
import { createMcpHandler } from "@modelcontextprotocol/server";
import type { CallOptions, Mesh } from "@warren/mesh";
import { PluginServiceDefinition, type PluginStatus } from "@warren/proto/warren/plugins/v1/plugins";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Assertions } from "../../identity/assertions.ts";
import type { Watched } from "../../state.ts";
import type { Admission } from "../admission.ts";
import { badRequest, type Problem, PROBLEM_TYPE } from "../problem.ts";
import type { RequestContexts } from "../request-context.ts";
import { callOptions } from "../rest.ts";
import type { RoutePolicy } from "../routes.ts";
import type { CallAddress, Cancellations } from "./cancellations.ts";
import { watchTools } from "./catalogue.ts";
import { serveMetadata, withMetadata } from "./metadata.ts";
import { type McpCaller, mcpServer } from "./server.ts";
import { sendWeb, webRequest } from "./web.ts";

export interface McpDependencies {
  readonly mesh: Pick<Mesh, "client">;
  readonly cancellations: Cancellations;
  readonly plugins: Pick<Watched<PluginStatus>, "onChange" | "entries">;
  readonly contexts: RequestContexts;
  readonly admission: Admission;
  readonly assertions: Assertions;
  /** Fires when the gateway stops and will wait no longer. */
  readonly stopping: AbortSignal;
  /** Fires when the stop begins: what waits for news alone ends then. */
  readonly draining: AbortSignal;
  readonly heartbeatMs: number;
  readonly problemFor: (thrown: unknown, request: FastifyRequest) => Problem;
  /** Where clients reach the gateway, as they write it; absent: under the host that they name, by plain HTTP. */
  readonly publicUrl: string | undefined;
  /** Of the software. */
  readonly version: string;
  /** Time between two signs of life of a call that goes on, in milliseconds; default 5,000. */
  readonly progressMs?: number | undefined;
}

/** The route's policy, for the document that describes it. */
export const mcpPolicy: RoutePolicy = { template: "/mcp", scope: "plugins:call", limitClass: "call" };

const PROGRESS_MS = 5_000;
/** The longest that timers take, in milliseconds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Adds the route and its metadata. @returns what ends it. */
export function serveMcp(app: FastifyInstance, deps: McpDependencies): { close(): void } {
  const { cancellations } = deps;
  const callers = new WeakMap<Request, McpCaller>();
  const tools = watchTools(deps.plugins, () => handler.notify.toolsChanged());
  const options = {
    plugins: deps.mesh.client(PluginServiceDefinition),
    tools: tools.current,
    version: deps.version,
    progressMs: deps.progressMs ?? PROGRESS_MS,
  };
  const handler = createMcpHandler(
    ({ era, requestInfo }) => {
      const caller = requestInfo && callers.get(requestInfo);
      if (!caller) throw new Error("A request reached the MCP server without its caller");
      return mcpServer(options, caller, era === "modern");
    },
    { keepAliveMs: deps.heartbeatMs },
  );
  const resource = { path: mcpPolicy.template, scope: mcpPolicy.scope, publicUrl: deps.publicUrl };

  void app.register(async (scope) => {
    scope.setErrorHandler((thrown, request, reply) => {
      const problem = withMetadata(deps.problemFor(thrown, request), request.raw, resource);
      return reply
        .code(problem.status)
        .headers({ ...problem.options.headers })
        .type(PROBLEM_TYPE)
        .send(Buffer.from(JSON.stringify(problem.toJSON(deps.contexts.of(request.raw).id))));
    });
    scope.post(mcpPolicy.template, { config: { policy: mcpPolicy } }, async (request, reply) => {
      const { body } = request;
      // A batch would be many calls for the price of one; no version served here needs it.
      if (Array.isArray(body)) throw badRequest("BATCH_NOT_SUPPORTED", "Send one message at a time");
      const caller = callOptions(request, reply.raw, deps);
      const call = callOf(request, deps.admission);
      if (call?.method === "notifications/cancelled") await cancellations.cancel(call);
      // Names the client's connection, so that it can take calls back; nothing is kept under it.
      if (methodOf(request) === "initialize") void reply.header(SESSION_HEADER, randomUUID());
      const isRequest = call?.id !== undefined && call.method !== "notifications/cancelled";
      const begun = isRequest ? cancellations.begin(call) : undefined;
      const signal = AbortSignal.any([...signalsFor(request, caller, deps), ...(begun ? [begun.signal] : [])]);
      const web = webRequest(request, signal);
      callers.set(web, {
        options: { ...caller, signal },
        explain: (thrown) => deps.problemFor(thrown, request).options.detail,
      });
      try {
        return await sendWeb(reply, await handler.fetch(web, { parsedBody: body ?? {} }));
      } finally {
        begun?.end();
      }
    });
  });
  serveMetadata(app, resource);
  return {
    close: () => {
      cancellations.close();
      tools.stop();
      void handler.close();
    },
  };
}

/** A stream of news also ends when the gateway begins to stop, and with the token that opened it. */
function signalsFor(request: FastifyRequest, { signal }: CallOptions, deps: McpDependencies): AbortSignal[] {
  const signals = signal ? [signal] : [];
  if (methodOf(request) !== "subscriptions/listen") return signals;
  const left = (deps.admission.of(request).identity?.expiresAt ?? 0) - Date.now();
  const expiry = AbortSignal.timeout(Math.min(Math.max(left, 0), LONGEST_TIMER_MS));
  return [...signals, deps.draining, expiry];
}

const SESSION_HEADER = "mcp-session-id";
const SESSION = /^[\x21-\x7e]{1,128}$/;

interface Message {
  readonly method?: unknown;
  readonly id?: unknown;
  readonly params?: { readonly requestId?: unknown };
}

function methodOf({ body }: FastifyRequest): unknown {
  return (body as Message | null | undefined)?.method;
}

/** The call that a message makes or takes back, of a client that has a session. */
function callOf(request: FastifyRequest, admission: Admission): (CallAddress & { method: unknown }) | undefined {
  const session = request.headers[SESSION_HEADER];
  const { identity } = admission.of(request);
  if (typeof session !== "string" || !SESSION.test(session) || identity === undefined) return undefined;
  const { method, id, params } = (request.body ?? {}) as Message;
  const named = method === "notifications/cancelled" ? params?.requestId : id;
  if (typeof named !== "string" && typeof named !== "number") return undefined;
  return { tenant: identity.tenant, principal: identity.principal, session, id: named, method };
}
