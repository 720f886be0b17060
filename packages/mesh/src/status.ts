// gRPC status codes, the one error that crosses the mesh, and its form on the wire.
// Codes: https://grpc.io/docs/guides/status-codes/. Details: google.rpc.Status with BadRequest, RetryInfo, ErrorInfo.
import { randomUUID } from "node:crypto";
import { BadRequest, ErrorInfo, RetryInfo } from "@warren/proto/google/rpc/error_details";
import { Status } from "@warren/proto/google/rpc/status";

export const StatusCode = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

/** A gRPC status code. */
export type StatusCode = (typeof StatusCode)[keyof typeof StatusCode];

const names = new Map<number, string>(Object.entries(StatusCode).map(([name, code]) => [code, name]));

/** The name of a code: `NOT_FOUND`. Codes nobody knows are `UNKNOWN`. */
export function statusName(code: number): string {
  return names.get(code) ?? "UNKNOWN";
}

/** What an error says beyond its code and message. */
export interface StatusDetails {
  /** The fields of the request that break the contract. */
  readonly violations?: readonly { readonly field: string; readonly description: string }[];
  /** Earliest time at which another try makes sense, in milliseconds from now. */
  readonly retryAfterMs?: number;
  /** A constant for programs, UPPER_SNAKE: `PLUGIN_CRASHED`, `NO_RESPONDERS`. */
  readonly reason?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** A call that failed. Handlers throw it; callers catch it; its message is for the caller's eyes. */
export class RpcError extends Error {
  override readonly name = "RpcError";
  readonly code: StatusCode;
  readonly details: StatusDetails;
  constructor(code: StatusCode, message: string, details: StatusDetails = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.details = details;
  }
}

/** The error of a call that this process made: answered by a service, or made by the client in place of an answer. */
export class CallError extends RpcError {}

/**
 * The error that a caller may see of whatever a handler threw. An RpcError passes; anything else becomes INTERNAL with
 * an id, and its text goes to `report` (the log) alone.
 */
export function toRpcError(thrown: unknown, report: (id: string, thrown: unknown) => void): RpcError {
  // What went wrong with a call that the handler made says nothing of the call that it serves: "nobody listened" would
  // have this one made again, although it ran.
  if (thrown instanceof CallError && thrown.details.reason)
    return new RpcError(thrown.code, thrown.message, {
      ...thrown.details,
      reason: `DEPENDENCY_${thrown.details.reason}`,
    });
  if (thrown instanceof RpcError) return thrown;
  const id = randomUUID();
  report(id, thrown);
  return new RpcError(StatusCode.INTERNAL, `Internal error ${id}: the log has it under this id`, {
    reason: "INTERNAL",
    metadata: { errorId: id },
  });
}

const types = {
  badRequest: "type.googleapis.com/google.rpc.BadRequest",
  retryInfo: "type.googleapis.com/google.rpc.RetryInfo",
  errorInfo: "type.googleapis.com/google.rpc.ErrorInfo",
} as const;

const LONGEST_RETRY_MS = 365 * 86_400_000;

/** google.rpc.Status as bytes. */
export function encodeStatus(error: RpcError): Uint8Array {
  const { violations, retryAfterMs, reason, metadata } = error.details;
  const details: Status["details"] = [];
  if (violations?.length) {
    const fieldViolations = violations.map((each) => ({ ...each, reason: "", localizedMessage: undefined }));
    details.push({ typeUrl: types.badRequest, value: BadRequest.encode({ fieldViolations }).finish() });
  }
  if (retryAfterMs !== undefined) {
    // Whole milliseconds, within a year: an error that cannot be written would leave its caller without any answer.
    const ms = Math.min(Math.max(0, Math.ceil(retryAfterMs) || 0), LONGEST_RETRY_MS);
    const retryDelay = { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1e6 };
    details.push({ typeUrl: types.retryInfo, value: RetryInfo.encode({ retryDelay }).finish() });
  }
  if (reason) {
    const info = { reason, domain: "warren", metadata: { ...metadata } };
    details.push({ typeUrl: types.errorInfo, value: ErrorInfo.encode(info).finish() });
  }
  return Status.encode({ code: error.code, message: error.message, details }).finish();
}

/** The error that bytes by {@link encodeStatus} carry. Bytes that are no status are an error themselves. */
export function decodeStatus(bytes: Uint8Array): RpcError {
  try {
    const status = Status.decode(bytes);
    const code = names.has(status.code) && status.code !== 0 ? (status.code as StatusCode) : StatusCode.UNKNOWN;
    return new CallError(code, status.message, Object.assign({}, ...status.details.map(decodeDetail)) as StatusDetails);
  } catch (cause) {
    return new CallError(StatusCode.INTERNAL, "A service answered with an error that cannot be read", {}, { cause });
  }
}

function decodeDetail({ typeUrl, value }: { typeUrl: string; value: Uint8Array }): StatusDetails {
  if (typeUrl === types.badRequest) {
    const { fieldViolations } = BadRequest.decode(value);
    return { violations: fieldViolations.map(({ field, description }) => ({ field, description })) };
  }
  if (typeUrl === types.retryInfo) {
    const { retryDelay } = RetryInfo.decode(value);
    return retryDelay ? { retryAfterMs: Number(retryDelay.seconds) * 1000 + Math.round(retryDelay.nanos / 1e6) } : {};
  }
  if (typeUrl !== types.errorInfo) return {};
  const { reason, metadata } = ErrorInfo.decode(value);
  return Object.keys(metadata).length ? { reason, metadata } : { reason };
}
