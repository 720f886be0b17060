// The Sandbox interface over plain child processes: no isolation, for tests of what is built on it.
import { spawn } from "node:child_process";
import type { Duplex, Readable, Writable } from "node:stream";
import type { LazySandbox } from "../../src/lifecycle/lazy-sandbox.ts";
import { NODE_INSIDE } from "../../src/lifecycle/launch.ts";
import type { SandboxedProcess, SandboxExit, SandboxSpec } from "../../src/sandbox/types.ts";

/** Starts plain processes, and remembers what it was asked for. */
export class FakeSandbox implements LazySandbox {
  readonly level = "process";
  readonly started: { spec: SandboxSpec; pid: number }[] = [];
  /** Ends that are said to be for memory. */
  readonly memoryEnds = new Set<number>();

  check(): Promise<void> {
    return Promise.resolve();
  }

  start(spec: SandboxSpec): Promise<SandboxedProcess> {
    const [program = "", ...args] = spec.command.map((word) =>
      word === NODE_INSIDE ? process.execPath : word.replace(/^\/plugin/, spec.root),
    );
    const child = spawn(program, args, {
      cwd: spec.root,
      env: { PATH: "/usr/bin:/bin", ...spec.env },
      detached: true,
      stdio: ["pipe", "pipe", "pipe", "ignore", spec.hostChannel ? "pipe" : "ignore"],
    });
    const pid = child.pid ?? 0;
    let killed = false;
    const exited = new Promise<SandboxExit>((resolve) => {
      child.once("close", (code, signal) => {
        const cause = this.memoryEnds.has(pid) ? "memory" : killed ? "killed" : signal ? "signal" : "exit";
        resolve({ code, signal, cause });
      });
    });
    this.started.push({ spec, pid });
    const channel = child.stdio[4] as Duplex | null;
    return Promise.resolve({
      pid,
      stdin: child.stdin as Writable,
      stdout: child.stdout as Readable,
      stderr: child.stderr as Readable,
      ...(channel ? { channel } : {}),
      exited,
      usage: () => Promise.resolve({ memoryBytes: 0, cpuSeconds: 0, processes: 1 }),
      kill: async () => {
        if (child.exitCode === null && child.signalCode === null) {
          killed = true;
          process.kill(-pid, "SIGKILL");
        }
        await exited;
      },
    });
  }
}
