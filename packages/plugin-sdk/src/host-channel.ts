import type { Duplex } from "node:stream";
import { isId, isObject, parseMessage, readLines, rpcCode, writeLine } from "./lines.ts";

const maxLineBytes = 1024 * 1024;

/** The host did not do what it was asked for. */
export class HostError extends Error {
  override readonly name = "HostError";
  /** A constant such as `PERMISSION_DENIED` or `NOT_FOUND`; `UNAVAILABLE` when there is no channel to the host. */
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Answers what the host asks of the plugin, such as `plugin/stop`, by method. */
export type HostRequestHandlers = Readonly<Record<string, (params: Record<string, unknown>) => Promise<unknown>>>;

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: HostError) => void;
}

/** Host calls: newline-delimited JSON-RPC 2.0 over a socket, opened when it is first needed. */
export class HostChannel {
  readonly #connect: () => Duplex;
  readonly #handlers: HostRequestHandlers;
  readonly #pending = new Map<number, Pending>();
  #socket: Duplex | undefined;
  #lost = false;
  #lastId = 0;

  /** @param connect opens the socket, or throws HostError where there is none. */
  constructor(connect: () => Duplex, handlers: HostRequestHandlers) {
    this.#connect = connect;
    this.#handlers = handlers;
  }

  /**
   * Opens the channel if it is not open.
   *
   * @throws HostError when there is none, or it was lost.
   */
  open(): Duplex {
    if (this.#lost) throw lost();
    if (this.#socket !== undefined) return this.#socket;
    const socket = this.#connect();
    this.#socket = socket;
    readLines(socket, maxLineBytes, {
      onLine: (line) => this.#receive(socket, line),
      onTooLong: () => socket.destroy(),
      onEnd: () => this.#lose(),
    });
    return socket;
  }

  /**
   * Asks the host and waits for its answer.
   *
   * @throws HostError with the host's reason.
   */
  async request(method: string, params: Record<string, unknown>, signal?: AbortSignal): Promise<unknown> {
    const socket = this.open();
    signal?.throwIfAborted();
    const id = ++this.#lastId;
    const cancelled = () => this.#pending.get(id)?.reject(new HostError("CANCELLED", `${method}: the call has ended`));
    signal?.addEventListener("abort", cancelled, { once: true });
    try {
      return await new Promise((resolve, reject) => {
        this.#pending.set(id, { resolve, reject });
        writeLine(socket, JSON.stringify({ jsonrpc: "2.0", id, method, params }), socket);
      });
    } finally {
      this.#pending.delete(id);
      signal?.removeEventListener("abort", cancelled);
    }
  }

  /** Tells the host something that needs no answer. */
  notify(method: string, params: Record<string, unknown>): void {
    const socket = this.open();
    writeLine(socket, JSON.stringify({ jsonrpc: "2.0", method, params }), socket);
  }

  #receive(socket: Duplex, line: string): void {
    const { message } = parseMessage(line);
    if (message === undefined) return;
    if (typeof message["method"] === "string") void this.#serve(socket, message, message["method"]);
    else this.#settle(message);
  }

  #settle(message: Record<string, unknown>): void {
    const pending = this.#pending.get(Number(message["id"]));
    if (pending === undefined) return;
    const { error } = message;
    if (!isObject(error)) return pending.resolve(message["result"]);
    const reason = isObject(error["data"]) ? error["data"]["reason"] : undefined;
    const text = typeof error["message"] === "string" ? error["message"] : "the host refused";
    pending.reject(new HostError(typeof reason === "string" ? reason : "INTERNAL", text));
  }

  async #serve(socket: Duplex, message: Record<string, unknown>, method: string): Promise<void> {
    const { id } = message;
    const handler = Object.hasOwn(this.#handlers, method) ? this.#handlers[method] : undefined;
    const answer = (body: object) => {
      if (isId(id)) writeLine(socket, JSON.stringify({ jsonrpc: "2.0", id, ...body }), socket);
    };
    if (handler === undefined) {
      return answer({ error: { code: rpcCode.methodNotFound, message: `the plugin has no method ${method}` } });
    }
    try {
      const result = await handler(isObject(message["params"]) ? message["params"] : {});
      answer({ result: result ?? {} });
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      answer({ error: { code: rpcCode.internalError, message: text } });
    }
  }

  #lose(): void {
    this.#lost = true;
    for (const { reject } of this.#pending.values()) reject(lost());
  }
}

function lost(): HostError {
  return new HostError("UNAVAILABLE", "the channel to the host is closed");
}
