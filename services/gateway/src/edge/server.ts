// The HTTP server: its bounds, its parsers, what surrounds every route, and its orderly end.
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { type MeshLog, RpcError, StatusCode } from "@warren/mesh";
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from "fastify";
import type { Gauge } from "@warren/service";
import type { GatewayConfig } from "../config.ts";
import type { Admission } from "./admission.ts";
import { serveCors } from "./cors.ts";
import { fromFastify, onClientError } from "./framework-errors.ts";
import type { HostCheck } from "./host-check.ts";
import { BODY_LIMIT, isJson, parseJsonBody, unsupportedMediaType } from "./json-body.ts";
import type { UnknownRoutes } from "./not-found.ts";
import { type Problem, PROBLEM_TYPE, problemOf, unavailable } from "./problem.ts";
import { serveRepresentations } from "./representation.ts";
import { boundQuietConnections } from "./quiet-connections.ts";
import type { RequestContexts } from "./request-context.ts";
import { asksForWebSocket, type Upgrades } from "./websocket/upgrades.ts";

export interface ServerDependencies {
  readonly config: Pick<GatewayConfig, "maxConnections" | "drainDelayMs" | "allowedOrigins">;
  readonly hosts: HostCheck;
  readonly contexts: RequestContexts;
  readonly admission: Admission;
  readonly unknown: UnknownRoutes;
  readonly log: MeshLog;
  readonly active: Gauge;
  readonly upgrades: Upgrades;
  /** Longest time for the headers of a request, in milliseconds. */
  readonly headersTimeoutMs?: number | undefined;
}

/** A server to which routes can be added. */
export interface HttpServer {
  readonly app: FastifyInstance;
  /** What a client may see of whatever a route threw; what is not meant for it goes to the log. */
  readonly problemFor: (thrown: unknown, request: FastifyRequest) => Problem;
  /** Fires when the stop waits no longer for what is in flight. */
  readonly stopping: AbortSignal;
  /** Takes no new connections and waits for what is in flight; after `graceMs` it is cut. */
  stop(graceMs: number): Promise<void>;
}

/** Against clients that send slowly or too much. Milliseconds and bytes. */
export const bounds = {
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 120_000,
  connectionsCheckingInterval: 500,
  // Longer than the idle time of common load balancers, so that it is they who close.
  keepAliveTimeout: 65_000,
  // A missing Host is told as a problem like any other.
  requireHostHeader: false,
};
/** Path variables have bounds of their own in the contract, which name the field. */
const LONGEST_PATH_VARIABLE = bounds.maxHeaderSize;
/** Time for cut requests to send their last words, in milliseconds. */
const LAST_WORDS_MS = 500;

/** Makes the server. */
export function createServer(deps: ServerDependencies): HttpServer {
  const {
    config,
    hosts,
    contexts,
    admission,
    unknown,
    log,
    active,
    upgrades,
    headersTimeoutMs = bounds.headersTimeout,
  } = deps;
  const stopping = new AbortController();
  let accepting = true;
  const problemFor = (thrown: unknown, request: FastifyRequest): Problem => {
    const { id } = contexts.of(request.raw);
    const cut = stopping.signal.aborted && thrown instanceof RpcError && thrown.code === StatusCode.CANCELLED;
    return cut
      ? unavailable("The gateway is stopping", 1, "STOPPING")
      : problemOf(fromFastify(thrown) ?? thrown, (err) => log.error({ err, requestId: id }, "A request failed"));
  };
  const send = (thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const { id } = contexts.of(request.raw);
    const problem = problemFor(thrown, request);
    // As bytes: to text the framework would add a charset, which the media type does not have.
    const body = Buffer.from(JSON.stringify(problem.toJSON(id)));
    return reply
      .code(problem.status)
      .headers({ ...problem.options.headers })
      .type(PROBLEM_TYPE)
      .send(body);
  };

  const listener =
    (handler: (request: IncomingMessage, response: ServerResponse) => void) =>
    (request: IncomingMessage, response: ServerResponse) =>
      contexts.run(request, response, () => {
        active.inc();
        response.once("close", () => active.dec());
        // Clients with more to send are told to do so on a new connection.
        if (!accepting) response.setHeader("connection", "close");
        handler(request, response);
      });

  const app = fastify({
    logger: false,
    bodyLimit: BODY_LIMIT,
    return503OnClosing: false,
    routerOptions: { maxParamLength: LONGEST_PATH_VARIABLE, querystringParser: () => ({}) },
    frameworkErrors: (error, request, reply) => void send(error, request, reply),
    clientErrorHandler: (error, socket) => onClientError(error, socket),
    serverFactory: (handler) => {
      const serve = listener(handler);
      const options = { ...bounds, headersTimeout: headersTimeoutMs, shouldUpgradeCallback: asksForWebSocket };
      const server = createHttpServer(options, serve);
      upgrades.attach(server, serve);
      server.maxConnections = config.maxConnections;
      boundQuietConnections(server, config.maxConnections);
      // An expectation nobody knows is no reason not to answer.
      server.on("checkExpectation", serve);
      return server;
    },
  });
  readJson(app);
  app.addHook("onRoute", ({ method, config: routeConfig }) => {
    const template = (routeConfig as { policy?: { template: string } } | undefined)?.policy?.template;
    if (template !== undefined) for (const each of [method].flat()) unknown.add(each, template);
  });
  serveCors(app, { allowedOrigins: config.allowedOrigins, hosts, routes: unknown });
  app.addHook("onRequest", (request, reply) => admission.admit(request, reply));
  serveRepresentations(app, admission);
  app.addHook("onSend", (_request, reply, payload, done) => {
    // Decided when the response goes out: clients with more to send do so on a new connection, to another gateway.
    if (!accepting) void reply.header("connection", "close");
    done(null, payload);
  });
  app.setErrorHandler((error, request, reply) => send(error, request, reply));

  const stop = async (graceMs: number): Promise<void> => {
    accepting = false;
    await pause(config.drainDelayMs);
    const cut = setTimeout(() => stopping.abort(), graceMs);
    const end = setTimeout(() => (app.server as Server).closeAllConnections(), graceMs + LAST_WORDS_MS);
    // Connections that finish their last request become idle, and have nothing more to wait for.
    const sweep = setInterval(() => (app.server as Server).closeIdleConnections(), 50);
    try {
      await app.close();
    } finally {
      clearTimeout(cut);
      clearTimeout(end);
      clearInterval(sweep);
    }
  };
  return { app, problemFor, stopping: stopping.signal, stop };
}

function readJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, body, done) => {
    const encoded = (request.headers["content-encoding"] ?? "identity").toLowerCase() !== "identity";
    if (encoded || !isJson(request.headers["content-type"] ?? ""))
      return done(unsupportedMediaType(["application/json"]));
    try {
      done(null, parseJsonBody(body as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
}
