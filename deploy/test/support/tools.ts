// The programs that the checks of the chart need: from `tools/setup charts`, else from PATH.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's folder. */
export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

/** How a program ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program's path; undefined where it is not installed. */
export function find(name: string): string | undefined {
  const folders = [join(ROOT, ".tools/bin"), ...(process.env["PATH"] ?? "").split(delimiter)].filter(Boolean);
  return folders.map((folder) => join(folder, name)).find(existsSync);
}

/** Why a check is skipped: false where the program is there. */
export function missing(name: string): string | false {
  return find(name) ? false : `${name} is not installed: run "bash tools/setup charts", which needs Go`;
}

/** Runs a program to its end. */
export function run(
  name: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly timeoutMs?: number } = {},
): Promise<Ended> {
  const { env, timeoutMs = 60_000 } = options;
  return new Promise((resolve) => {
    const child = execFile(
      find(name) ?? name,
      args,
      { cwd: ROOT, maxBuffer: 64 << 20, timeout: timeoutMs, ...(env ? { env: { ...process.env, ...env } } : {}) },
      (error, stdout, stderr) =>
        resolve({ code: child.exitCode ?? (error ? 1 : 0), stdout, stderr: stderr || (error?.message ?? "") }),
    );
  });
}
