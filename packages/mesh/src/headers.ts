// What a call carries beside its message. One packed header: each further one costs throughput (see mesh-protocol.md).
import { headers, type Msg, type MsgHdrs } from "@nats-io/transport-node";
import { RpcError, StatusCode } from "./status.ts";

/** Remaining milliseconds, attempt, idempotency key and known contracts of a call: `1500;1;key;hash,hash`. */
export const RPC_HEADER = "Warren-Rpc";
/** The caller's assertion. */
export const CALLER_HEADER = "Warren-Caller";
/** Set on a request for a stream: the frames and bytes that the client takes before it grants more: `256;1048576`. */
export const STREAM_HEADER = "Warren-Stream";
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
  const key = idempotencyKey ? encodeURIComponent(idempotencyKey.toWellFormed()) : "";
  if (key.length > LONGEST_KEY)
    throw new RpcError(
      StatusCode.INVALID_ARGUMENT,
      `An idempotency key takes at most ${LONGEST_KEY} characters, percent-encoded`,
    );
  const text = `${Math.min(Math.ceil(remainingMs), LONGEST_MS)};${attempt};${key}`;
  return contracts ? `${text};${contracts}` : text;
}

/** Reads the packed header; undefined when it is missing or malformed. */
export function unpackCall(text: string | undefined): CallHeader | undefined {
  const match = text && /^(\d{1,10});(\d{1,4});([A-Za-z0-9%_.!~*'()-]{0,512})(?:;([A-Za-z0-9_,-]{8,64}))?$/.exec(text);
  if (!match) return undefined;
  try {
    const idempotencyKey = match[3] ? decodeURIComponent(match[3]) : undefined;
    return { remainingMs: Number(match[1]), attempt: Number(match[2]), idempotencyKey, contracts: match[4] };
  } catch {
    return undefined;
  }
}

/**
 * The headers of a message. The client library parses them when they are first asked for.
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
