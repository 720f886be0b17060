// What a plugin asks its host, on fd 4: newline-delimited JSON-RPC 2.0 (https://www.jsonrpc.org/specification).
import type { Duplex } from "node:stream";
import { type FaultPolicy, type FaultSink, Faults } from "./faults.ts";
import { nestsDeeperThan, printable, readLines } from "./lines.ts";

/** Bounds of host calls. */
export interface HostCallLimits {
  readonly maxLineBytes: number;
  readonly maxDepth: number;
  /** Calls in flight at once; further ones are refused. */
  readonly maxOutstanding: number;
  /** Longest time for one call, in milliseconds. */
  readonly timeoutMs: number;
  readonly faults: FaultPolicy;
}

export const defaultHostCallLimits: HostCallLimits = {
  maxLineBytes: 256 * 1024,
  maxDepth: 16,
  maxOutstanding: 16,
  timeoutMs: 5000,
  faults: { max: 32, windowMs: 60_000 },
};

/** A refusal that the plugin may read. */
export class HostCallRefused extends Error {
  override readonly name = "HostCallRefused";
  /** A constant such as `PERMISSION_DENIED`. */
  readonly reason: string;
  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Methods by name, such as `host/log`. What they throw other than HostCallRefused stays with the host. */
export type HostMethods = Readonly<
  Record<string, (params: Record<string, unknown>, signal: AbortSignal) => Promise<unknown>>
>;

const code = { invalidRequest: -32_600, methodNotFound: -32_601, internal: -32_603, refused: -32_000 } as const;

type Id = string | number;

/** Serves a plugin's host calls until its channel ends or `close` is called; then calls in flight are aborted. */
export function serveHostCalls(
  channel: Duplex,
  methods: HostMethods,
  limits: HostCallLimits,
  sink: FaultSink & { readonly onFailure: (method: string, error: unknown) => void },
): { close(): void } {
  const faults = new Faults(limits.faults, sink);
  const ending = new AbortController();
  const inFlight = new Set<Id>();

  const answer = (id: Id | undefined, body: Record<string, unknown>): void => {
    if (id === undefined || ending.signal.aborted || !channel.writable) return;
    const room = channel.write(`${JSON.stringify({ jsonrpc: "2.0", id, ...body })}\n`);
    if (room || channel.isPaused()) return;
    // A plugin that asks and does not read its answers is not read either.
    channel.pause();
    channel.once("drain", () => channel.resume());
  };
  const refuse = (id: Id | undefined, errorCode: number, message: string, data?: Record<string, unknown>): void =>
    answer(id, { error: { code: errorCode, message, ...(data ? { data } : {}) } });

  const run = async (id: Id | undefined, name: string, params: Record<string, unknown>): Promise<void> => {
    const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
    if (!method) return refuse(id, code.methodNotFound, `The host has no method ${printable(name, 64)}`);
    if (inFlight.size >= limits.maxOutstanding)
      return refuse(id, code.refused, `${limits.maxOutstanding} host calls are in flight already`, {
        reason: "RESOURCE_EXHAUSTED",
      });
    const token = id ?? `notification ${performance.now()}`;
    inFlight.add(token);
    try {
      const signal = AbortSignal.any([ending.signal, AbortSignal.timeout(limits.timeoutMs)]);
      answer(id, { result: (await method(params, signal)) ?? null });
    } catch (error) {
      if (error instanceof HostCallRefused) return refuse(id, code.refused, error.message, { reason: error.reason });
      sink.onFailure(name, error);
      refuse(id, code.internal, "The host could not do this", { reason: "INTERNAL" });
    } finally {
      inFlight.delete(token);
    }
  };

  const receive = (line: Buffer): void => {
    if (faults.dead || ending.signal.aborted) return;
    if (nestsDeeperThan(line, limits.maxDepth))
      return faults.note(`made a host call that nests deeper than ${limits.maxDepth} levels`);
    const message = parse(line);
    if (!message) return faults.note("wrote a line to its host channel that is not JSON-RPC");
    const { id, method, params = {} } = message;
    if (typeof method !== "string") return faults.note("answered a call on its host channel that was never made");
    if (id !== undefined && typeof id !== "string" && !Number.isSafeInteger(id))
      return faults.note("made a host call with a bad id");
    const known = id as Id | undefined;
    if (known !== undefined && inFlight.has(known)) return faults.note("used the id of a host call in flight again");
    if (!isObject(params)) return refuse(known, code.invalidRequest, "params must be an object");
    void run(known, method, params);
  };

  const stopReading = readLines(channel, {
    maxLineBytes: limits.maxLineBytes,
    onLine: receive,
    onOverflow: () => faults.fatal(`wrote a line longer than ${limits.maxLineBytes} bytes to its host channel`),
  });
  const close = (): void => {
    if (ending.signal.aborted) return;
    ending.abort(new Error("The plugin has ended"));
    stopReading();
    channel.destroy();
  };
  channel.on("error", close);
  channel.once("close", close);
  return { close };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parse(line: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line.toString());
    return isObject(value) && value["jsonrpc"] === "2.0" ? value : undefined;
  } catch {
    return undefined;
  }
}
