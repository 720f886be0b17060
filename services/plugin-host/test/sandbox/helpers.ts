import { mkdtempSync, rmSync, writeFileSync, chmodSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { parseCgroupMounts } from "../../src/sandbox/cgroup-mounts.ts";
import { createBubblewrapSandbox } from "../../src/sandbox/sandbox.ts";
import type { BubblewrapOptions, SandboxedProcess, SandboxExit, SandboxSpec } from "../../src/sandbox/sandbox.ts";

export const MEBIBYTE = 1024 * 1024;
export const NODE = { source: process.execPath, target: "/runtime/node", writable: false };
export const PYTHON = "/usr/bin/python3";

/** A folder that is gone after the test, readable by any user. */
export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "sandbox-test-"));
  chmodSync(folder, 0o755);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A plugin of one file, main.py or main.mjs, and the spec to run it. */
export function pluginOf(t: TestContext, file: "main.py" | "main.mjs", source: string): SandboxSpec {
  const root = temporaryFolder(t);
  writeFileSync(join(root, file), source);
  const python = file === "main.py";
  return {
    name: "acme/test",
    command: python ? [PYTHON, "/plugin/main.py"] : ["/runtime/node", "/plugin/main.mjs"],
    root,
    binds: python ? [] : [NODE],
    env: {},
    limits: { memoryBytes: 128 * MEBIBYTE, cpus: 2, maxProcesses: 64, maxOpenFiles: 256, tmpBytes: 4 * MEBIBYTE },
    hostChannel: false,
  };
}

/** Starts a sandboxed process that is gone after the test. */
export async function start(
  t: TestContext,
  spec: SandboxSpec,
  options: BubblewrapOptions = {},
): Promise<SandboxedProcess> {
  const sandbox = await createBubblewrapSandbox(options);
  const started = await sandbox.start(spec);
  t.after(() => started.kill());
  return started;
}

/** Runs a spec to its end. */
export async function run(
  t: TestContext,
  spec: SandboxSpec,
  options: BubblewrapOptions = {},
): Promise<{ stdout: string; stderr: string; exit: SandboxExit }> {
  const started = await start(t, spec, options);
  const [stdout, stderr, exit] = await Promise.all([text(started.stdout), text(started.stderr), started.exited]);
  return { stdout, stderr, exit };
}

/** Runs a Python plugin that prints one JSON document, and returns that. */
export async function runPython(t: TestContext, source: string, change: Partial<SandboxSpec> = {}): Promise<unknown> {
  const { stdout, stderr, exit } = await run(t, { ...pluginOf(t, "main.py", source), ...change });
  if (exit.code !== 0) throw new Error(`the plugin ended with ${JSON.stringify(exit)}: ${stderr}`);
  return JSON.parse(stdout);
}

/** Waits until a condition holds, for at most ten seconds. */
export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`still not so after ten seconds: ${condition.toString()}`);
    await delay(10);
  }
}

/** Host pids of the processes whose command line contains a text. */
export async function processesWith(marker: string): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")));
  return pids.filter((_pid, index) => lines[index]?.includes(marker)).map(Number);
}

/** The cgroups that the host with this pid has made. */
export async function leavesOf(host: number): Promise<string[]> {
  const [mountinfo, cgroup] = await Promise.all([
    readFile("/proc/self/mountinfo", "utf8"),
    readFile("/proc/self/cgroup", "utf8"),
  ]);
  const found = await Promise.all(
    parseCgroupMounts(mountinfo, cgroup).map(async ({ own }) => (await readdir(own)).map((name) => join(own, name))),
  );
  return found.flat().filter((path) => /\/warren-\d+-(\d+)-/.exec(path)?.[1] === String(host));
}
