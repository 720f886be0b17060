// A gateway on loopback that speaks the public API's shapes and remembers what it was asked.
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import type { TestContext } from "node:test";

/** A request as it arrived. */
export interface Arrived {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly bytes: Buffer;
  /** The body as JSON; undefined when there was none or it was something else. */
  readonly json: unknown;
}

/** Answers one route. */
export type Route = (request: Arrived, response: ServerResponse) => void | Promise<void>;

/** A fake gateway that runs. */
export interface FakeGateway {
  readonly url: string;
  readonly port: number;
  /** In the order of arrival. */
  readonly requests: Arrived[];
  /** Bodies sent to a route, such as `POST /v1/chat`. */
  bodies(route: string): unknown[];
  /** Resolves when a request of the route has arrived. */
  arrival(route: string): Promise<Arrived>;
}

/** Starts one; it ends with the test. Routes are keyed like `GET /v1/plugins`, by decoded path. */
export async function startFakeGateway(t: TestContext, routes: Readonly<Record<string, Route>>): Promise<FakeGateway> {
  const requests: Arrived[] = [];
  const waiting: { route: string; resolve: (request: Arrived) => void }[] = [];
  const server = createServer((message, response) => void handle(message, response));
  const handle = async (message: IncomingMessage, response: ServerResponse): Promise<void> => {
    const target = new URL(message.url ?? "/", "http://fake");
    const bytes = await buffer(message);
    const request: Arrived = {
      method: message.method ?? "",
      path: decodeURIComponent(target.pathname),
      query: target.searchParams,
      headers: message.headers,
      bytes,
      json: message.headers["content-type"] === "application/json" ? JSON.parse(bytes.toString()) : undefined,
    };
    requests.push(request);
    const key = `${request.method} ${request.path}`;
    for (const each of waiting) if (each.route === key) each.resolve(request);
    response.setHeader("x-request-id", `request-${requests.length}`);
    response.setHeader("traceparent", `00-${"ab".repeat(16)}-${"cd".repeat(8)}-01`);
    const route = routes[key];
    if (route) await route(request, response);
    else sendProblem(response, 404, "NOT_FOUND", `There is no ${key}`);
  };
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    bodies: (route) => requests.filter(({ method, path }) => `${method} ${path}` === route).map(({ json }) => json),
    arrival: (route) => {
      const known = requests.find(({ method, path }) => `${method} ${path}` === route);
      return known ? Promise.resolve(known) : new Promise((resolve) => waiting.push({ route, resolve }));
    },
  };
}

/** A route that answers with JSON. */
export function json(body: unknown, status = 200): Route {
  return (_request, response) => sendJson(response, body, status);
}

/** A route that refuses. */
export function problem(status: number, code: string, detail: string, members: Record<string, unknown> = {}): Route {
  return (_request, response) => sendProblem(response, status, code, detail, members);
}

/** Sends JSON. */
export function sendJson(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8" }).end(JSON.stringify(body));
}

/** Sends a problem document. */
export function sendProblem(
  response: ServerResponse,
  status: number,
  code: string,
  detail: string,
  members: Record<string, unknown> = {},
): void {
  const body = { type: `urn:warren:problem:${code.toLowerCase()}`, title: "Refused", status, detail, code, ...members };
  response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify(body));
}

/** Begins a stream of server-sent events; `send` writes one. */
export function eventStream(response: ServerResponse): (event: string, data: unknown) => void {
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  return (event, data) => void response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}

/** An address of this machine where nothing listens. */
export async function deadAddress(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return `http://127.0.0.1:${port}`;
}
