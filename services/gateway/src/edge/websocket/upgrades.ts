// Requests to become a WebSocket (RFC 6455): they go through the same server as every other request, so that a refusal is
// a problem like any other, and wait here until a route takes them.
import { type IncomingMessage, type RequestListener, type Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { BODY_LIMIT } from "../json-body.ts";
import { badRequest, Problem } from "../problem.ts";

interface Pending {
  readonly socket: Duplex;
  readonly head: Buffer;
}

const KEY = /^[A-Za-z0-9+/]{22}==$/;

/** Whether a request asks for a WebSocket; any other upgrade is not offered, and its request served as it is. */
export function asksForWebSocket({ method, headers }: IncomingMessage): boolean {
  return method === "GET" && headers.upgrade?.toLowerCase() === "websocket";
}

/** Takes upgrades from a server, and gives them to routes. */
export class Upgrades {
  readonly #pending = new WeakMap<IncomingMessage, Pending>();
  // Without compression: it would let a guesser read secrets by their length, and costs each connection its memory.
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: BODY_LIMIT,
    perMessageDeflate: false,
    clientTracking: false,
  });

  constructor() {
    this.#sockets.on("headers", (lines, request) => {
      const { "x-request-id": id, traceparent } = this.#told.get(request) ?? {};
      lines.push(`x-request-id: ${String(id)}`, `traceparent: ${String(traceparent)}`);
    });
  }

  readonly #told = new WeakMap<IncomingMessage, ReturnType<ServerResponse["getHeaders"]>>();

  /** Sends a server's upgrades the way of all its requests. */
  attach(server: Server, serve: RequestListener): void {
    server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      // Nobody has looked at it yet: an error before that is the end of a connection, not of the process.
      socket.on("error", () => socket.destroy());
      const response = new ServerResponse(request);
      response.shouldKeepAlive = false;
      response.assignSocket(socket as Parameters<ServerResponse["assignSocket"]>[0]);
      // A refusal: nothing more comes on this connection.
      response.once("finish", () => socket.end());
      this.#pending.set(request, { socket, head });
      serve(request, response);
    });
  }

  /** Whether a request waits to become a WebSocket. */
  has(request: IncomingMessage): boolean {
    return this.#pending.has(request);
  }

  /**
   * Makes a waiting request a WebSocket; its response has "ended" when that is closed.
   * @throws Problem 400 or 426 when its handshake is none.
   */
  async accept(request: IncomingMessage, response: ServerResponse): Promise<WebSocket> {
    const pending = this.#pending.get(request);
    if (pending === undefined) throw new Error("The request does not wait to become a WebSocket");
    const { "sec-websocket-key": key, "sec-websocket-version": version } = request.headers;
    if (key === undefined || !KEY.test(key))
      throw badRequest("INVALID_HANDSHAKE", "Sec-WebSocket-Key must be 16 bytes in base64");
    if (version !== "13") throw upgradeRequired("This gateway speaks WebSocket version 13 (RFC 6455)");
    const { socket, head } = pending;
    this.#told.set(request, response.getHeaders());
    this.#pending.delete(request);
    response.statusCode = 101;
    response.detachSocket(socket as Parameters<ServerResponse["detachSocket"]>[0]);
    const opened = await new Promise<WebSocket>((resolve) =>
      this.#sockets.handleUpgrade(request, socket, head, (webSocket) => resolve(webSocket)),
    );
    opened.once("close", () => response.emit("close"));
    return opened;
  }
}

/** The route has nothing to say to plain HTTP. */
export function upgradeRequired(detail: string): Problem {
  return new Problem(426, {
    code: "UPGRADE_REQUIRED",
    detail,
    headers: { upgrade: "websocket", connection: "upgrade", "sec-websocket-version": "13" },
  });
}
