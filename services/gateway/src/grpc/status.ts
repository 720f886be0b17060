// What a gRPC caller is told of a failure: the same as an HTTP client, as a status with google.rpc details.
import { Metadata, type StatusObject } from "@grpc/grpc-js";
import { encodeStatus, RpcError, StatusCode } from "@warren/mesh";
import { ErrorInfo } from "@warren/proto/google/rpc/error_details";
import { Status } from "@warren/proto/google/rpc/status";
import { type Problem, problemOf } from "../edge/problem.ts";

const DETAILS = "grpc-status-details-bin";

/** Of the problems that begin at the edge; those of services keep their code. */
const codes: Readonly<Record<number, StatusCode>> = {
  400: StatusCode.INVALID_ARGUMENT,
  401: StatusCode.UNAUTHENTICATED,
  403: StatusCode.PERMISSION_DENIED,
  404: StatusCode.NOT_FOUND,
  409: StatusCode.ABORTED,
  413: StatusCode.RESOURCE_EXHAUSTED,
  421: StatusCode.PERMISSION_DENIED,
  429: StatusCode.RESOURCE_EXHAUSTED,
  499: StatusCode.CANCELLED,
  501: StatusCode.UNIMPLEMENTED,
  503: StatusCode.UNAVAILABLE,
  504: StatusCode.DEADLINE_EXCEEDED,
};

/** The error that a caller may see of whatever was thrown; `report` gets what is not meant for it. */
export function rpcErrorOf(thrown: unknown, report: (thrown: unknown) => void): RpcError {
  const problem = problemOf(thrown, report);
  // A service's own error says more than the problem made of it.
  if (thrown instanceof RpcError && problem.options.code !== "INTERNAL") return thrown;
  return ofProblem(problem);
}

function ofProblem({ status, message, options }: Problem): RpcError {
  const { code, errors, headers } = options;
  const retryAfter = Number(headers?.["retry-after"]);
  return new RpcError(codes[status] ?? StatusCode.INTERNAL, message, {
    reason: code,
    ...(errors?.length
      ? { violations: errors.map(({ field, message: description }) => ({ field, description })) }
      : {}),
    ...(retryAfter > 0 ? { retryAfterMs: retryAfter * 1000 } : {}),
  });
}

/** An error as grpc-js sends it: code, message, and `grpc-status-details-bin`. */
export function statusOf(error: RpcError): StatusObject {
  const metadata = new Metadata();
  metadata.set(DETAILS, Buffer.from(encodeStatus(error)));
  // The message travels percent-encoded, which knows no half of a surrogate pair.
  return { code: error.code as number, details: error.message.toWellFormed(), metadata };
}

/** The reason in a status made by {@link statusOf}; undefined: it has none. */
export function reasonOf(metadata: Metadata | null | undefined): string | undefined {
  const bytes = metadata?.get(DETAILS)[0];
  const details = bytes instanceof Uint8Array ? Status.decode(bytes).details : [];
  const info = details.find(({ typeUrl }) => typeUrl.endsWith("/google.rpc.ErrorInfo"));
  return info && ErrorInfo.decode(info.value).reason;
}
