import type { Readable, Writable } from "node:stream";

/** JSON-RPC 2.0, section 5.1, and the range it leaves to implementations. */
export const rpcCode = {
  parseError: -32_700,
  invalidRequest: -32_600,
  methodNotFound: -32_601,
  invalidParams: -32_602,
  internalError: -32_603,
} as const;

/** Names a request until it is answered. */
export type RpcId = string | number;

/** What is done with the lines of a stream. */
export interface LineHandlers {
  readonly onLine: (line: string) => void;
  /** A line was longer than allowed; it was dropped, and the next one is read again. */
  readonly onTooLong: () => void;
  /** The stream ended or broke. Called once. */
  readonly onEnd: () => void;
}

/** Reads newline-delimited text, holding at most `maxBytes` of an unfinished line. Empty lines are skipped. */
export function readLines(input: Readable, maxBytes: number, handlers: LineHandlers): void {
  let held: Buffer[] = [];
  let heldBytes = 0;
  let ended = false;

  function take(piece: Buffer): void {
    heldBytes += piece.length;
    if (heldBytes <= maxBytes) held.push(piece);
    else held = [];
  }

  function finishLine(): void {
    const tooLong = heldBytes > maxBytes;
    const line = Buffer.concat(held).toString("utf8").trim();
    held = [];
    heldBytes = 0;
    if (tooLong) handlers.onTooLong();
    else if (line !== "") handlers.onLine(line);
  }

  function end(): void {
    if (ended) return;
    ended = true;
    handlers.onEnd();
  }

  input.on("data", (chunk: Buffer) => {
    let from = 0;
    for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, from)) {
      take(chunk.subarray(from, at));
      finishLine();
      from = at + 1;
    }
    take(chunk.subarray(from));
  });
  input.once("end", end);
  input.once("close", end);
  input.once("error", end);
}

/** Writes a message as one line. While the other side does not read, `input` is not read either. */
export function writeLine(output: Writable, json: string, input: Readable): void {
  if (!output.writable) return;
  if (output.write(`${json}\n`) || input.isPaused()) return;
  input.pause();
  output.once("drain", () => input.resume());
}

/** A JSON-RPC message, or nothing where the text is no JSON object of that version. */
export function parseMessage(line: string): { message?: Record<string, unknown>; isJson: boolean } {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { isJson: false };
  }
  return isObject(value) && value["jsonrpc"] === "2.0" ? { message: value, isJson: true } : { isJson: true };
}

/** Whether a value is a JSON object. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a value may name a request. */
export function isId(value: unknown): value is RpcId {
  return typeof value === "string" || Number.isSafeInteger(value);
}
