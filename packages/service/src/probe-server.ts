// Liveness and readiness over HTTP, for whoever runs the process: a kubelet, a container engine, a supervisor.
// It is apart from the gateway's own listener: services that talk only NATS have no other, and a probe knows no host name.
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What a path answers: the state, told in one word, and whether it is a good one. */
export interface ProbeAnswer {
  readonly ok: boolean;
  readonly text: string;
  /** Default: plain text. */
  readonly contentType?: string;
}

export interface ProbeServerOptions {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  /** What to answer, by path. Whoever reaches the port may ask: no secrets, no ids. */
  readonly routes: Readonly<Record<string, () => Promise<ProbeAnswer>>>;
}

/** A listener for probes. */
export interface ProbeServer {
  readonly port: number;
  close(): Promise<void>;
}

/** More than a kubelet, a monitor and a person need: whoever can reach the port must not cost the service its files. */
const MAX_CONNECTIONS = 64;
const REQUEST_MS = 5_000;

/**
 * Listens for probes: 200 where the answer is good, else 503; nothing but GET and HEAD on the paths that are named.
 * @throws Error when the address cannot be listened on.
 */
export async function serveProbes({ host, port, routes }: ProbeServerOptions): Promise<ProbeServer> {
  const known = new Map(Object.entries(routes));
  const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS }, (request, response) => {
    const route = known.get((request.url ?? "").split("?")[0] ?? "");
    if (!route) return send(response, 404, "not found");
    if (request.method !== "GET" && request.method !== "HEAD") return send(response, 405, "use GET");
    route().then(
      ({ ok, text, contentType }) => send(response, ok ? 200 : 503, text, contentType),
      // Its text could hold anything: the log has it where it was thrown.
      () => send(response, 503, "failed"),
    );
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, host, port);
  return { port: (server.address() as AddressInfo).port, close: () => close(server) };
}

function send(response: ServerResponse, status: number, text: string, contentType = "text/plain; charset=utf-8"): void {
  response.writeHead(status, { "content-type": contentType, "cache-control": "no-store", connection: "close" });
  response.end(`${text}\n`);
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause) =>
      reject(new Error(`Probes cannot be answered on ${host}:${port}: ${cause.message}`, { cause })),
    );
    server.listen(port, host, resolve);
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
