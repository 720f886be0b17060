// What these tests share: folders that end with their test, processes of a few lines, and whether one is alive.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type ManagedProcess, startProcess } from "../src/managed-process.ts";
import { waitUntil } from "../src/wait-until.ts";

/** A folder that ends with the test. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "warren-stack-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A Node.js process that runs `code`, with the lines it wrote. It ends with the test. */
export async function startCode(t: TestContext, code: string, env: NodeJS.ProcessEnv = {}) {
  const lines: string[] = [];
  const running = await startProcess({
    command: process.execPath,
    args: ["-e", code],
    env: { PATH: process.env["PATH"], ...env },
    onLine: (line) => lines.push(line),
  });
  t.after(() => endProcess(running));
  return { running, lines };
}

export async function endProcess(running: ManagedProcess): Promise<void> {
  running.kill("SIGKILL");
  await running.ended;
}

/** Whether a process runs: one that has ended and waits for its parent to notice does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== "linux" || !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** Waits until a process is gone. */
export function gone(pid: number): Promise<true> {
  return waitUntil(`the end of process ${pid}`, 5000, () => (isAlive(pid) ? undefined : true));
}

/** Waits for a line that a process wrote. */
export function lineOf(lines: readonly string[], pattern: RegExp): Promise<string> {
  return waitUntil(`a line like ${pattern.source}`, 10_000, () => lines.find((line) => pattern.test(line)));
}
