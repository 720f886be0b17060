// MCP over a plugin's stdin and stdout: a transport for the official client that believes nothing it reads.
// Framing: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio
import type { Readable, Writable } from "node:stream";
import type { JSONRPCMessage, Transport } from "@modelcontextprotocol/client";
import { type FaultPolicy, type FaultSink, Faults } from "./faults.ts";
import { nestsDeeperThan, printable, readLines } from "./lines.ts";

/** Bounds of the channel. */
export interface ChannelLimits {
  /** Longest line in bytes. */
  readonly maxLineBytes: number;
  /** Deepest nesting of objects and arrays in a line. */
  readonly maxDepth: number;
  /** Calls that may wait for an answer at once. */
  readonly maxOutstanding: number;
  /** Bytes that may wait for the plugin to read them. */
  readonly maxQueuedBytes: number;
  /** Requests and notifications that nobody asked for: so many a second, after a burst of so many. */
  readonly unsolicitedPerSecond: number;
  readonly unsolicitedBurst: number;
  readonly faults: FaultPolicy;
}

export const defaultChannelLimits: ChannelLimits = {
  maxLineBytes: 8 * 1024 * 1024,
  // An answer becomes a protobuf Struct, three levels for one of JSON; readers of protobuf stop at 100.
  maxDepth: 32,
  maxOutstanding: 64,
  maxQueuedBytes: 16 * 1024 * 1024,
  unsolicitedPerSecond: 100,
  unsolicitedBurst: 400,
  faults: { max: 32, windowMs: 60_000 },
};

/** The channel has no room for another call: nothing was sent. */
export class ChannelBusy extends Error {
  override readonly name = "ChannelBusy";
}

type Id = string | number;

/** JSON-RPC 2.0, section 5.1. */
const INTERNAL_ERROR = -32_603;

/** How many ids of calls that nobody waits for any more are remembered. */
const MAX_ABANDONED = 1024;

/** A plugin's stdin and stdout as a transport. One for each process. */
export class StdioChannel implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;

  readonly #stdin: Writable;
  readonly #stdout: Readable;
  readonly #limits: ChannelLimits;
  readonly #faults: Faults;
  readonly #onClosed: (() => void) | undefined;
  readonly #now: () => number;
  readonly #waiting = new Set<Id>();
  readonly #abandoned = new Set<Id>();
  readonly #inbound = new Set<Id>();
  #allowance: number;
  #refilled: number;
  #closed = false;
  #stopReading: (() => void) | undefined;

  constructor(
    streams: { stdin: Writable; stdout: Readable },
    limits: ChannelLimits,
    sink: FaultSink & { readonly onClosed?: () => void },
    now: () => number = () => performance.now(),
  ) {
    this.#stdin = streams.stdin;
    this.#stdout = streams.stdout;
    this.#limits = limits;
    this.#onClosed = sink.onClosed;
    this.#now = now;
    this.#faults = new Faults(limits.faults, sink, now);
    this.#allowance = limits.unsolicitedBurst;
    this.#refilled = now();
  }

  /** Calls that the plugin has not answered and somebody waits for. */
  get outstanding(): number {
    return this.#waiting.size;
  }

  start(): Promise<void> {
    this.#stdin.on("error", () => this.#end());
    this.#stdout.on("error", () => this.#end());
    this.#stdout.once("close", () => this.#end());
    this.#stdout.once("end", () => this.#end());
    this.#stopReading = readLines(this.#stdout, {
      maxLineBytes: this.#limits.maxLineBytes,
      onLine: (line) => this.#receive(line),
      onOverflow: () => this.#faults.fatal(`wrote a line longer than ${this.#limits.maxLineBytes} bytes to its stdout`),
    });
    return Promise.resolve();
  }

  /**
   * Sends one message. Resolves when the plugin's pipe has taken it.
   * @throws ChannelBusy when too many calls wait for an answer or too many bytes wait to be read.
   */
  send(message: JSONRPCMessage): Promise<void> {
    if (this.#closed) return Promise.reject(new Error("The plugin's channel is closed"));
    const text = `${JSON.stringify(message)}\n`;
    const asks = "method" in message && "id" in message;
    // Liveness is asked for precisely when the plugin is full of calls that it does not answer.
    if (asks && message.method !== "ping" && message.method !== "server/discover") {
      if (this.#waiting.size >= this.#limits.maxOutstanding)
        return Promise.reject(new ChannelBusy(`has ${this.#waiting.size} calls in flight, as many as it may`));
      if (this.#stdin.writableLength + text.length > this.#limits.maxQueuedBytes)
        return Promise.reject(new ChannelBusy(`does not read: ${this.#stdin.writableLength} bytes wait for it`));
    }
    if (asks) this.#waiting.add(message.id);
    else if ("method" in message) this.#noteCancellation(message);
    else if (message.id !== undefined) this.#inbound.delete(message.id);
    return new Promise((resolve, reject) => {
      this.#stdin.write(text, (error) => (error ? reject(error) : resolve()));
    });
  }

  close(): Promise<void> {
    this.#end();
    return Promise.resolve();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopReading?.();
    this.#stdin.end();
    this.onclose?.();
    this.#onClosed?.();
  }

  /** A cancelled call may be answered once more, or never; neither is an error. */
  #noteCancellation(message: { method: string; params?: Record<string, unknown> | undefined }): void {
    const id = message.method === "notifications/cancelled" ? message.params?.["requestId"] : undefined;
    if ((typeof id !== "number" && typeof id !== "string") || !this.#waiting.delete(id)) return;
    this.#abandoned.add(id);
    const [oldest] = this.#abandoned;
    if (this.#abandoned.size > MAX_ABANDONED && oldest !== undefined) this.#abandoned.delete(oldest);
  }

  #receive(line: Buffer): void {
    if (this.#closed || this.#faults.dead) return;
    const message = parse(line);
    if (nestsDeeperThan(line, this.#limits.maxDepth)) return this.#refuseDeep(message?.["id"]);
    if (!message) return this.#faults.note(`wrote a line that is not JSON-RPC: ${shorten(line)}`);
    if (typeof message["method"] === "string") this.#receiveUnsolicited(message, message["method"]);
    else this.#receiveAnswer(message);
  }

  /** Who waits for the answer is told now; only the id of the message is looked at. */
  #refuseDeep(id: unknown): void {
    const problem = `nests deeper than ${this.#limits.maxDepth} levels`;
    this.#faults.note(`wrote a line that ${problem}`);
    if (isId(id) && this.#waiting.delete(id)) this.#fail(id, `the answer ${problem}`);
  }

  #fail(id: Id, message: string): void {
    this.onmessage?.({ jsonrpc: "2.0", id, error: { code: INTERNAL_ERROR, message } });
  }

  #receiveAnswer(message: Record<string, unknown>): void {
    const { id } = message;
    if (!isId(id)) return this.#faults.note(`wrote an answer without an id: ${shorten(JSON.stringify(message))}`);
    if (this.#abandoned.delete(id)) return;
    if (!this.#waiting.delete(id))
      return this.#faults.note(
        `answered ${JSON.stringify(id).slice(0, 64)}, which waits for no answer (never asked, or answered twice)`,
      );
    if (isObject(message["result"])) return this.onmessage?.({ jsonrpc: "2.0", id, result: message["result"] });
    const { error } = message;
    if (isObject(error) && Number.isSafeInteger(error["code"]) && typeof error["message"] === "string") {
      const { code, message: text } = error as { code: number; message: string };
      return this.onmessage?.({ jsonrpc: "2.0", id, error: { code, message: text } });
    }
    this.#faults.note(`answered ${JSON.stringify(id)} with neither a result nor an error`);
    this.#fail(id, "the answer holds neither a result nor an error");
  }

  #receiveUnsolicited(message: Record<string, unknown>, method: string): void {
    if (!this.#allowed()) {
      const { unsolicitedPerSecond: rate } = this.#limits;
      return this.#faults.note(`sends more than ${rate} messages a second that nobody asked for (${shorten(method)})`);
    }
    const { id, params } = message;
    if (params !== undefined && !isObject(params))
      return this.#faults.note(`sent ${shorten(method)} with params that are no object`);
    const withParams = params === undefined ? {} : { params };
    if (!("id" in message)) return this.onmessage?.({ jsonrpc: "2.0", method, ...withParams });
    if (!isId(id))
      return this.#faults.note(`sent ${shorten(method)} with an id that is neither text nor a whole number`);
    if (this.#inbound.has(id)) return this.#faults.note(`used the id ${JSON.stringify(id).slice(0, 64)} twice`);
    if (this.#inbound.size >= this.#limits.maxOutstanding) return this.#faults.note("has too many requests in flight");
    this.#inbound.add(id);
    this.onmessage?.({ jsonrpc: "2.0", id, method, ...withParams });
  }

  #allowed(): boolean {
    const time = this.#now();
    const { unsolicitedBurst, unsolicitedPerSecond } = this.#limits;
    const gained = ((time - this.#refilled) / 1000) * unsolicitedPerSecond;
    this.#allowance = Math.min(unsolicitedBurst, this.#allowance + gained);
    this.#refilled = time;
    if (this.#allowance < 1) return false;
    this.#allowance--;
    return true;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isId(value: unknown): value is Id {
  return (typeof value === "string" && value.length <= 128) || Number.isSafeInteger(value);
}

function parse(line: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line.toString());
    return isObject(value) && value["jsonrpc"] === "2.0" ? value : undefined;
  } catch {
    return undefined;
  }
}

function shorten(text: string | Buffer): string {
  return printable(typeof text === "string" ? text.slice(0, 200) : text.subarray(0, 200).toString(), 120);
}
