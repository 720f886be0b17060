// How a failure is shown.
import { ProblemError } from "../api/problem.ts";
import { CliError, ExitCode } from "../errors.ts";
import { oneLine, printable, safeJson } from "./sanitize.ts";
import type { Terminal } from "./terminal.ts";

/** Writes a failure to stderr, for people or as one JSON document, and returns the exit code it means. */
export function showFailure(terminal: Terminal, error: unknown, json: boolean): ExitCode {
  const failure = error instanceof CliError ? error : unexpected(error);
  // Whoever pressed Ctrl-C knows.
  if (failure.exitCode === ExitCode.interrupted) return failure.exitCode;
  terminal.note(json ? safeJson(document(failure)) : text(terminal, failure));
  return failure.exitCode;
}

function text(terminal: Terminal, failure: CliError): string {
  const lines = [`${terminal.paintNote("red", "error:")} ${printable(failure.message)}`];
  if (failure instanceof ProblemError) {
    const { fields, requestId, traceId, status } = failure.problem;
    for (const { field, message } of fields)
      // The gateway's own detail names them all; a service's may not.
      if (!field || !failure.message.includes(`${field} ${message}`))
        lines.push(`  ${oneLine(field) || "the request"} ${oneLine(message)}`);
    if (failure.hint) lines.push(`  ${printable(failure.hint)}`);
    if (requestId) lines.push(terminal.paintNote("dim", `  request id ${oneLine(requestId)}`));
    if (traceId && status >= 500) lines.push(terminal.paintNote("dim", `  trace ${oneLine(traceId)}`));
  } else if (failure.hint) lines.push(`  ${printable(failure.hint)}`);
  return lines.join("\n");
}

function document(failure: CliError): Record<string, unknown> {
  const shared = { exitCode: failure.exitCode, ...(failure.hint ? { hint: failure.hint } : {}) };
  if (failure instanceof ProblemError) return { ...failure.problem, ...shared };
  return { title: failure.message, detail: failure.message, ...shared };
}

/** A defect of ours: the stack is what a report needs. */
function unexpected(error: unknown): CliError {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new CliError(ExitCode.failure, `unexpected: ${text}`, "please report this with the command you typed");
}
