// What a call carries beside its message. One packed header: each further one costs throughput (see mesh-protocol.md).
import { headers, type Msg, type MsgHdrs } from "@nats-io/transport-node";
import { RpcError, StatusCode } from "./status.ts";
import { headerValue, isHeader, nextLine } from "./wire.ts";

/** Remaining milliseconds, attempt, idempotency key and known contracts of a call: `1500;1;key;hash,hash`. */
export const RPC_HEADER = "Warren-Rpc";
/** The caller's assertion. */
export const CALLER_HEADER = "Warren-Caller";
/** Set on a request for a stream: the frames and bytes that the client takes before it grants more: `256;1048576`. */
export const STREAM_HEADER = "Warren-Stream";
/** W3C Trace Context. */
export const TRACE_HEADER = "traceparent";
/** Set on the word of a replica that it still works on a call. */
export const ALIVE_HEADER = "Warren-Alive";
/** Set on an answer that is an error (ADR-32), so that `nats` tools read it too. */
export const ERROR_CODE_HEADER = "Nats-Service-Error-Code";
export const ERROR_HEADER = "Nats-Service-Error";

/** The packed part of a call. */
export interface CallHeader {
  readonly remainingMs: number;
  /** From 1. */
  readonly attempt: number;
  readonly idempotencyKey: string | undefined;
  /** Hashes of the versions of the method's contract that the caller knows. */
  readonly contracts?: string | undefined;
}

const LONGEST_MS = 9_999_999_999;
const LONGEST_KEY = 512;

/**
 * Writes the packed header.
 * @throws RpcError INVALID_ARGUMENT when the idempotency key is longer than a header may be.
 */
export function packCall({ remainingMs, attempt, idempotencyKey, contracts }: CallHeader): string {
  const time = `${Math.min(Math.ceil(remainingMs), LONGEST_MS)};${attempt};`;
  const known = contracts ? `;${contracts}` : "";
  if (!idempotencyKey) return time + known;
  const key = encodeURIComponent(idempotencyKey.toWellFormed());
  if (key.length > LONGEST_KEY)
    throw new RpcError(
      StatusCode.INVALID_ARGUMENT,
      `An idempotency key takes at most ${LONGEST_KEY} characters, percent-encoded`,
    );
  return time + key + known;
}

/** Reads the packed header; undefined when it is missing or malformed. */
export function unpackCall(text: string | undefined): CallHeader | undefined {
  const plain = text && unpackPlain(text);
  if (plain) return plain;
  const match = text && /^(\d{1,10});(\d{1,4});([A-Za-z0-9%_.!~*'()-]{0,512})(?:;([A-Za-z0-9_,-]{8,64}))?$/.exec(text);
  if (!match) return undefined;
  try {
    const idempotencyKey = match[3] ? decodeURIComponent(match[3]) : undefined;
    return { remainingMs: Number(match[1]), attempt: Number(match[2]), idempotencyKey, contracts: match[4] };
  } catch {
    return undefined;
  }
}

/** The headers of a request; undefined where they are missing or empty. */
export interface RequestHeaders {
  readonly rpc: string | undefined;
  readonly caller: string | undefined;
  readonly window: string | undefined;
  readonly traceparent: string | undefined;
}

/** Reads the headers of a request from their block: of each name the first. */
export function requestHeaders(block: string): RequestHeaders {
  const found: Writable<RequestHeaders> = {
    rpc: undefined,
    caller: undefined,
    window: undefined,
    traceparent: undefined,
  };
  for (let at = nextLine(block, 0); at > 0; at = nextLine(block, at)) {
    if (isHeader(block, at, RPC_HEADER)) found.rpc ??= headerValue(block, at + RPC_HEADER.length + 1);
    else if (isHeader(block, at, CALLER_HEADER)) found.caller ??= headerValue(block, at + CALLER_HEADER.length + 1);
    else if (isHeader(block, at, TRACE_HEADER)) found.traceparent ??= headerValue(block, at + TRACE_HEADER.length + 1);
    else if (isHeader(block, at, STREAM_HEADER)) found.window ??= headerValue(block, at + STREAM_HEADER.length + 1);
  }
  return found;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

const LINE_SAFE = /^[\x21-\x7e]+$/;
const MOST_CALLERS = 1024;

/** The lines by which assertions travel, as bytes: one caller makes many calls. */
export class CallerLines {
  readonly #lines = new Map<string, Uint8Array>();

  /**
   * The line of an assertion; empty for none.
   * @throws RpcError INVALID_ARGUMENT when it cannot stand on a line.
   */
  of(assertion: string): Uint8Array {
    const known = this.#lines.get(assertion);
    if (known) return known;
    if (assertion !== "" && !LINE_SAFE.test(assertion))
      throw new RpcError(StatusCode.INVALID_ARGUMENT, "The caller assertion is malformed");
    const line = Buffer.from(assertion === "" ? "" : `${CALLER_HEADER}: ${assertion}\r\n`, "latin1");
    if (this.#lines.size >= MOST_CALLERS) this.#lines.delete(this.#lines.keys().next().value ?? "");
    this.#lines.set(assertion, line);
    return line;
  }
}

/** The usual form, without a key and with the caller's own version of the contract: by hand, for every call that comes. */
function unpackPlain(text: string): CallHeader | undefined {
  const first = text.indexOf(";");
  const second = text.indexOf(";", first + 1);
  if (first < 1 || first > 10 || second - first < 2 || second - first > 5) return undefined;
  if (text.charCodeAt(second + 1) !== SEMICOLON || text.length - second !== 2 + HASH_LENGTH) return undefined;
  const remainingMs = digits(text, 0, first);
  const attempt = digits(text, first + 1, second);
  const contracts = text.slice(second + 2);
  if (remainingMs < 0 || attempt < 0 || !HASH.test(contracts)) return undefined;
  return { remainingMs, attempt, idempotencyKey: undefined, contracts };
}

/** A version of a contract. */
const HASH = /^[A-Za-z0-9_-]{8}$/;
const HASH_LENGTH = 8;
const SEMICOLON = 59;
const ZERO = 48;

/** The number between two places; -1 when anything but a digit stands there. */
function digits(text: string, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) {
    const digit = text.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

/**
 * The headers of a message, as the client library parses them when they are first asked for.
 * @throws RpcError INVALID_ARGUMENT when they cannot be read.
 */
export function headersOf(message: Msg): MsgHdrs | undefined {
  try {
    return message.headers;
  } catch (cause) {
    throw new RpcError(StatusCode.INVALID_ARGUMENT, "The headers of the call cannot be read", {}, { cause });
  }
}

/** Reads a header that may be absent. */
export function header(from: MsgHdrs | undefined, name: string): string | undefined {
  return from?.get(name) || undefined;
}

/** Headers of an error. The message stands on one line: a header cannot hold more. */
export function errorHeaders(code: number, message: string): MsgHdrs {
  const result = headers();
  result.set(ERROR_CODE_HEADER, String(code));
  result.set(ERROR_HEADER, message.replaceAll(/[^\x20-\x7e]+/g, " ").slice(0, 256) || "error");
  return result;
}
