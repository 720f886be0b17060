// What the gateway says when it refuses: application/problem+json (RFC 9457).
import { CliError, ExitCode } from "../errors.ts";

/** One field of a request that is wrong. */
export interface ProblemField {
  readonly field: string;
  readonly message: string;
}

/** A refusal, as far as it can be understood. */
export interface Problem {
  readonly status: number;
  readonly type: string;
  readonly title: string;
  /** For programs, UPPER_SNAKE, where the gateway gives one. */
  readonly code: string | undefined;
  readonly detail: string;
  readonly fields: readonly ProblemField[];
  /** To find it in the logs. */
  readonly requestId: string | undefined;
  /** To find it at `/v1/traces/{id}`. */
  readonly traceId: string | undefined;
  /** Seconds to wait (RFC 9110 §10.2.3), where the gateway says. */
  readonly retryAfter: number | undefined;
}

/** The gateway refused a request. */
export class ProblemError extends CliError {
  override readonly name = "ProblemError";
  readonly problem: Problem;
  constructor(problem: Problem, hint?: string) {
    super(exitCodeOf(problem.status), problem.detail || problem.title, hint ?? hintFor(problem));
    this.problem = problem;
  }
}

/** Reads a response that is not a success. Never throws: a body that is no problem document is described by its status. */
export async function readProblem(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => "");
  return problemFrom(parse(text), response.status, response.headers);
}

/** Understands a problem document, from a response or from the middle of a stream. */
export function problemFrom(document: unknown, status: number, headers: Headers): Problem {
  const given = isRecord(document) ? document : {};
  const retryAfter = headers.get("retry-after");
  return {
    status: typeof given["status"] === "number" ? given["status"] : status,
    type: string(given["type"]) ?? "about:blank",
    title: string(given["title"]) ?? `HTTP ${status}`,
    code: string(given["code"]),
    detail: string(given["detail"]) ?? "",
    fields: fieldsOf(given["errors"]),
    requestId: headers.get("x-request-id") ?? string(given["instance"]),
    traceId: headers.get("traceparent")?.split("-")[1],
    retryAfter: retryAfter && /^\d{1,6}$/.test(retryAfter) ? Number(retryAfter) : undefined,
  };
}

function exitCodeOf(status: number): ExitCode {
  if (status === 401 || status === 403) return ExitCode.denied;
  if (status === 404) return ExitCode.notFound;
  if (status === 429) return ExitCode.limited;
  if (status === 503 || status === 504) return ExitCode.unavailable;
  return ExitCode.failure;
}

function hintFor({ status, retryAfter }: Problem): string | undefined {
  if (status === 429) return retryAfter === undefined ? "try again later" : `try again in ${retryAfter} s`;
  if (status === 503 || status === 504)
    return `try again${retryAfter === undefined ? "" : ` in ${retryAfter} s`}; "warren doctor" shows which part is missing`;
  return undefined;
}

function fieldsOf(value: unknown): ProblemField[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isRecord).map((each) => ({
    field: string(each["field"]) ?? "",
    message: string(each["message"]) ?? "is not valid",
  }));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function string(value: unknown): string | undefined {
  return typeof value === "string" && value ? value : undefined;
}

/** Whether a value is a JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
