// Running other programs to see what they do.
import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { join } from "node:path";

/** How a program ended. */
export interface Outcome {
  /** Its exit code; undefined when it could not be started, or a signal ended it. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  /** Why it could not be started (`ENOENT`), or which signal ended it. */
  readonly failure: string | undefined;
}

/** Runs a program to its end, at most 10 s. Never throws. */
export async function run(file: string, args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(file, args, { timeout: 10_000, killSignal: "SIGKILL" }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : undefined;
      const failure = code === undefined ? (error?.signal ?? String(error?.code)) : undefined;
      resolve({ code, stdout, stderr, failure });
    });
  });
}

/** The first folder's program of this name; undefined when none has it. */
export async function which(name: string, folders: readonly string[]): Promise<string | undefined> {
  for (const folder of folders) {
    const file = join(folder, name);
    try {
      await access(file, constants.X_OK);
      return file;
    } catch {
      // Not here: the next folder.
    }
  }
  return undefined;
}

/** The first version number in a text, such as `2.9.10`; undefined when there is none. */
export function versionIn(text: string): string | undefined {
  return /\d+\.\d+(?:\.\d+)?/.exec(text)?.[0];
}

/** Whether a version is at least another, number by number. */
export function atLeast(version: string, least: string): boolean {
  const [have, want] = [version, least].map((text) => text.split(".").map(Number));
  for (const [i, number] of (want ?? []).entries()) {
    const own = have?.[i] ?? 0;
    if (own !== number) return own > number;
  }
  return true;
}

/** The last line a program wrote that says something. */
export function lastLine({ stderr, stdout, failure }: Outcome): string {
  const lines = `${stdout}\n${stderr}`.split("\n").filter((line) => line.trim());
  return lines.at(-1)?.trim().slice(0, 200) ?? failure ?? "it says nothing";
}
