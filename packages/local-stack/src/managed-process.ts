// A child process that never outlives this one, whose output is passed on line by line.
import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";

/** How a process ended. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProcessOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Opens a channel to a Node.js child, which sees it close when this process is gone, however it went. */
  readonly onMessage?: (message: unknown) => void;
  /** Called with each line of standard output and error. */
  readonly onLine: (line: string, stream: "stdout" | "stderr") => void;
}

const SETPRIV = "/usr/bin/setpriv";

/** A running child. */
export interface ManagedProcess {
  readonly pid: number;
  readonly ended: Promise<Ending>;
  /** Asks it to stop by SIGTERM, and kills it after `graceMs`. */
  stop(graceMs: number): Promise<Ending>;
  kill(signal: NodeJS.Signals): void;
}

/** Starts a child. On Linux the kernel ends it when this process dies, also by SIGKILL. */
export function startProcess(options: ProcessOptions): Promise<ManagedProcess> {
  const bound = process.platform === "linux" && existsSync(SETPRIV);
  const [command, args] = bound
    ? [SETPRIV, ["--pdeathsig", options.onMessage ? "TERM" : "KILL", options.command, ...options.args]]
    : [options.command, [...options.args]];
  const stdio: SpawnOptions["stdio"] = options.onMessage
    ? ["ignore", "pipe", "pipe", "ipc"]
    : ["ignore", "pipe", "pipe"];
  // A group of its own: Ctrl-C in the terminal reaches the supervisor alone, which stops its children in order.
  const child = spawn(command, args, { stdio, detached: true, env: options.env, cwd: options.cwd });
  for (const stream of ["stdout", "stderr"] as const) {
    const from = child[stream];
    if (from) createInterface({ input: from }).on("line", (line) => options.onLine(line, stream));
  }
  if (options.onMessage) child.on("message", options.onMessage);
  return new Promise((resolve, reject) => {
    child.once("error", (cause) =>
      reject(new Error(`${options.command} could not be started: ${cause.message}`, { cause })),
    );
    child.once("spawn", () => resolve(manage(child)));
  });
}

function manage(child: ChildProcess): ManagedProcess {
  const ended = new Promise<Ending>((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  return {
    pid: child.pid ?? 0,
    ended,
    kill: (signal) => void child.kill(signal),
    stop: async (graceMs) => {
      child.kill("SIGTERM");
      const force = setTimeout(() => child.kill("SIGKILL"), graceMs);
      try {
        return await ended;
      } finally {
        clearTimeout(force);
      }
    },
  };
}
