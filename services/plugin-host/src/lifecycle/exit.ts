// Why a plugin process ended, and what its callers are told.
import { RpcError, StatusCode } from "@warren/mesh";
import type { SandboxExit } from "../sandbox/types.ts";
import { printable } from "../protocol/lines.ts";

/** Why a process ends. */
export const EXIT_CAUSES = [
  /** The host wanted it to. */
  "stopped",
  "memory",
  /** It did not come back from a call within its time. */
  "unresponsive",
  /** It broke the protocol too often. */
  "protocol",
  "crash",
] as const;

/** Why the process ended. */
export type ExitCause = (typeof EXIT_CAUSES)[number];

/** The end of a plugin process. */
export interface ExitReport {
  readonly cause: ExitCause;
  /** One line for people: `exited with code 3`. */
  readonly reason: string;
}

const MiB = 1024 * 1024;

/**
 * Judges an end.
 * @param ordered why the host itself ended it, if it did.
 * @param lastLine the last line on its stderr.
 */
export function judgeExit(
  exit: SandboxExit,
  ordered: { cause: ExitCause; reason: string } | undefined,
  memoryBytes: number,
  lastLines: readonly string[],
): ExitReport {
  if (exit.cause === "memory" || (!ordered && ranOutOfMemory(exit, lastLines)))
    return { cause: "memory", reason: `exceeded its memory limit of ${Math.round(memoryBytes / MiB)} MiB` };
  if (ordered) return ordered;
  const how = exit.signal ? `was ended by ${exit.signal}` : `exited with code ${exit.code ?? "unknown"}`;
  const last = lastLines.at(-1);
  return { cause: "crash", reason: last ? `${how}: ${printable(last, 200)}` : how };
}

/** A runtime that meets its limit gives up by itself, before the kernel does, and says so. */
function ranOutOfMemory({ code, signal }: SandboxExit, lastLines: readonly string[]): boolean {
  const gaveUp = signal === "SIGABRT" || signal === "SIGTRAP" || signal === "SIGILL" || (code !== null && code !== 0);
  return (
    gaveUp &&
    lastLines.some((line) =>
      /out of memory|^MemoryError\b|Cannot allocate memory|Array buffer allocation failed/i.test(line),
    )
  );
}

/**
 * The error of a call that was in flight when the process ended. Its outcome is unknown, so it carries a reason that
 * nobody takes for "it never ran".
 */
export function inFlightError(pluginId: string, { cause, reason }: ExitReport): RpcError {
  const text = `Plugin ${pluginId} ${reason}`;
  switch (cause) {
    case "memory":
      return new RpcError(StatusCode.RESOURCE_EXHAUSTED, text, { reason: "PLUGIN_OUT_OF_MEMORY" });
    case "unresponsive":
      return new RpcError(StatusCode.UNAVAILABLE, text, { reason: "PLUGIN_UNRESPONSIVE" });
    case "protocol":
      return new RpcError(StatusCode.UNAVAILABLE, text, { reason: "PLUGIN_PROTOCOL_VIOLATION" });
    case "stopped":
      return new RpcError(StatusCode.UNAVAILABLE, `Plugin ${pluginId} was stopped during the call`, {
        reason: "PLUGIN_STOPPED",
      });
    case "crash":
      return new RpcError(StatusCode.UNAVAILABLE, text, { reason: "PLUGIN_CRASHED" });
  }
}
