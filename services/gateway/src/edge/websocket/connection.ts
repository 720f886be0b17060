// One WebSocket: JSON texts both ways, no faster than the other side reads, and closed when it shows no sign of life.
import type { WebSocket } from "ws";

/** Close codes: RFC 6455 §7.4.1, and the registry that it opened. */
export const Close = {
  normal: 1000,
  goingAway: 1001,
  unsupportedData: 1003,
  policyViolation: 1008,
  internalError: 1011,
  tryAgainLater: 1013,
} as const;

export interface ConnectionOptions {
  /** Time between two pings; a connection that misses one is cut. */
  readonly heartbeatMs: number;
  /** Longest time for one message to be taken by the other side, in milliseconds. */
  readonly sendTimeoutMs: number;
}

/** Time for the other side to answer a close. */
const CLOSE_MS = 2_000;

/** A WebSocket that belongs to a route. */
export class Connection {
  readonly #socket: WebSocket;
  readonly #options: ConnectionOptions;
  readonly #gone = new AbortController();

  constructor(socket: WebSocket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    let alive = true;
    const beat = setInterval(() => {
      if (!alive) return socket.terminate();
      alive = false;
      socket.ping();
    }, options.heartbeatMs);
    socket.on("pong", () => (alive = true));
    socket.on("message", () => (alive = true));
    // What breaks the protocol ends the connection with a code that says so; the library sends it.
    socket.on("error", () => undefined);
    socket.once("close", () => {
      clearInterval(beat);
      this.#gone.abort();
    });
  }

  /** Fires when it is closed. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** Calls back for each text; other data ends the connection. */
  onText(callback: (text: Buffer) => void): void {
    this.#socket.on("message", (data: Buffer, isBinary) => {
      if (isBinary) return this.close(Close.unsupportedData, "send JSON as text");
      callback(data);
    });
  }

  /** Sends JSON; resolves when the other side has taken it. One that does not in time is cut: what waits for it is memory. */
  send(value: unknown): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const late = setTimeout(() => this.#socket.terminate(), this.#options.sendTimeoutMs);
    this.#socket.send(JSON.stringify(value), () => {
      clearTimeout(late);
      resolve();
    });
    return promise;
  }

  /** @param why at most 123 bytes */
  close(code: number, why: string): void {
    this.#socket.close(code, why);
    const end = setTimeout(() => this.#socket.terminate(), CLOSE_MS);
    this.#socket.once("close", () => clearTimeout(end));
  }

  /** Ends it without a word. */
  cut(): void {
    this.#socket.terminate();
  }
}
