// Every error that leaves the gateway: application/problem+json (RFC 9457).
import { BytesMismatch, JsonMismatch } from "@warren/contract";
import { RpcError, StatusCode, statusName } from "@warren/mesh";
import { denialsOf, type Limited, limitHeaders, retryAfterSeconds } from "../limits/headers.ts";
import { AmbiguousToken, Unauthenticated } from "../identity/identity.ts";
import { ScopeMissing } from "../identity/authorize.ts";

export const PROBLEM_TYPE = "application/problem+json";

/** One field that is wrong, and what would be right. */
export interface FieldError {
  readonly field: string;
  readonly message: string;
}

export interface ProblemOptions {
  /** For programs, UPPER_SNAKE. */
  readonly code: string;
  readonly detail: string;
  readonly title?: string;
  /** Absent: made from the code. */
  readonly type?: string;
  readonly errors?: readonly FieldError[];
  readonly headers?: Readonly<Record<string, string>>;
  /** Members beyond those of RFC 9457. */
  readonly members?: Readonly<Record<string, unknown>>;
}

/** A request that is answered with an error. Everything in it is for the client's eyes. */
export class Problem extends Error {
  override readonly name = "Problem";
  readonly status: number;
  readonly options: ProblemOptions;
  constructor(status: number, options: ProblemOptions) {
    super(options.detail);
    this.status = status;
    this.options = options;
  }

  /** The body. @param instance The request's id. */
  toJSON(instance?: string): Record<string, unknown> {
    const { code, detail, title = titles[this.status] ?? "Error", type, errors, members } = this.options;
    return {
      type: type ?? `urn:warren:problem:${code.toLowerCase().replaceAll("_", "-")}`,
      title,
      status: this.status,
      detail,
      ...(instance === undefined ? {} : { instance }),
      code,
      ...(errors?.length ? { errors } : {}),
      ...members,
    };
  }
}

const titles: Readonly<Record<number, string>> = {
  400: "Bad request",
  401: "Not authenticated",
  403: "Not allowed",
  404: "Not found",
  405: "Method not allowed",
  406: "Not acceptable",
  408: "Request timeout",
  409: "Conflict",
  413: "Content too large",
  414: "URI too long",
  415: "Unsupported media type",
  421: "Misdirected request",
  426: "Upgrade required",
  429: "Too many requests",
  431: "Request header fields too large",
  499: "Client closed the request",
  500: "Internal error",
  501: "Not implemented",
  503: "Unavailable",
  504: "Timeout",
};

/** https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto, "HTTP Mapping". */
const httpStatus: Readonly<Record<StatusCode, number>> = {
  [StatusCode.OK]: 500,
  [StatusCode.CANCELLED]: 499,
  [StatusCode.UNKNOWN]: 500,
  [StatusCode.INVALID_ARGUMENT]: 400,
  [StatusCode.DEADLINE_EXCEEDED]: 504,
  [StatusCode.NOT_FOUND]: 404,
  [StatusCode.ALREADY_EXISTS]: 409,
  [StatusCode.PERMISSION_DENIED]: 403,
  [StatusCode.RESOURCE_EXHAUSTED]: 429,
  [StatusCode.FAILED_PRECONDITION]: 400,
  [StatusCode.ABORTED]: 409,
  [StatusCode.OUT_OF_RANGE]: 400,
  [StatusCode.UNIMPLEMENTED]: 501,
  [StatusCode.INTERNAL]: 500,
  [StatusCode.UNAVAILABLE]: 503,
  [StatusCode.DATA_LOSS]: 500,
  [StatusCode.UNAUTHENTICATED]: 401,
};

/** A request that breaks the contract. */
export function badRequest(code: string, detail: string, errors: readonly FieldError[] = []): Problem {
  return new Problem(400, { code, detail, errors });
}

/** Fields that break the contract. */
export function invalidFields(errors: readonly FieldError[]): Problem {
  const detail = errors.map(({ field, message }) => `${field || "the body"} ${message}`).join("; ");
  return badRequest("INVALID_ARGUMENT", detail, errors);
}

/** A request over its limits. */
export function quotaExceeded(limited: Limited): Problem {
  const denials = denialsOf(limited.decisions);
  const names = denials.map(({ limit }) => limit.name);
  return new Problem(429, {
    code: "QUOTA_EXCEEDED",
    type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
    title: "Quota exceeded",
    detail: `Over the limit ${names.join(", ")}: try again in ${retryAfterSeconds(denials)} s`,
    headers: limitHeaders(limited),
    members: { "violated-policies": names },
  });
}

/** A dependency that the request needs does not answer. */
export function unavailable(detail: string, retryAfter = 1, code = "UNAVAILABLE"): Problem {
  return new Problem(503, { code, detail, headers: { "retry-after": String(retryAfter) } });
}

/**
 * The problem that a client may see of whatever was thrown. What is not meant for it becomes a 500 that says no more
 * than the request's id; `report` gets it for the log.
 */
export function problemOf(thrown: unknown, report: (thrown: unknown) => void): Problem {
  if (thrown instanceof Problem) return thrown;
  // A service that does not believe the gateway is nothing the client could mend with another token.
  if (thrown instanceof RpcError && thrown.details.reason !== "CALLER_REFUSED") return ofRpc(thrown);
  if (thrown instanceof BytesMismatch && !thrown.violations.length)
    return badRequest("INVALID_MESSAGE", thrown.message);
  if (thrown instanceof JsonMismatch || thrown instanceof BytesMismatch)
    return invalidFields(thrown.violations.map(({ field, description }) => ({ field, message: description })));
  if (thrown instanceof Unauthenticated) return unauthenticated(thrown.message);
  if (thrown instanceof AmbiguousToken) return badRequest("AMBIGUOUS_TOKEN", thrown.message);
  if (thrown instanceof ScopeMissing) return scopeMissing(thrown);
  report(thrown);
  // What this gateway has just vouched for has expired already: its clock and that of a service differ.
  if (thrown instanceof RpcError && thrown.details.metadata?.["why"] === "expired")
    return unavailable("The clocks of the mesh's machines differ: its operator has to set them", 5, "CLOCKS_DIFFER");
  return new Problem(500, {
    code: "INTERNAL",
    detail: "Something went wrong here: the log has it under the request's id",
  });
}

/** The same whatever is wrong with the token (RFC 6750 §3). */
function unauthenticated(detail: string): Problem {
  return new Problem(401, {
    code: "UNAUTHENTICATED",
    detail,
    headers: { "www-authenticate": 'Bearer realm="warren"' },
  });
}

function scopeMissing({ scope, message }: ScopeMissing): Problem {
  const challenge = `Bearer realm="warren", error="insufficient_scope", scope="${scope}"`;
  return new Problem(403, {
    code: "SCOPE_MISSING",
    detail: message,
    headers: { "www-authenticate": challenge },
    members: { scope },
  });
}

function ofRpc(error: RpcError): Problem {
  const { violations, retryAfterMs, reason } = error.details;
  // What does not fit through the mesh would not fit later either.
  const status = reason === "TOO_LARGE" ? 413 : httpStatus[error.code];
  const waits = status === 503 || status === 429;
  const retryAfter = Math.max(1, Math.ceil((retryAfterMs ?? 1000) / 1000));
  const headers = waits
    ? { "retry-after": String(retryAfter) }
    : status === 401
      ? { "www-authenticate": 'Bearer realm="warren"' }
      : {};
  return new Problem(status, {
    code: reason || statusName(error.code),
    detail: error.message,
    headers,
    ...(violations ? { errors: violations.map(({ field, description }) => ({ field, message: description })) } : {}),
  });
}
