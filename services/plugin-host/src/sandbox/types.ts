import type { Duplex, Readable, Writable } from "node:stream";

/** What one sandbox may use, counted over all of its processes together. */
export interface SandboxLimits {
  /** Memory in bytes, with what lies in /tmp and /dev/shm where a cgroup counts it. At least 8 MiB. */
  memoryBytes: number;
  /** Processor time as a share of one processor: 0.5 is half of one, 2 is two. */
  cpus: number;
  /** Tasks, the way the kernel counts them: a thread is one. Node.js alone has about eleven. */
  maxProcesses: number;
  /** Open descriptors of each process. */
  maxOpenFiles: number;
  /** Size of /tmp in bytes, and again of /dev/shm. At least 4096. */
  tmpBytes: number;
}

/** A folder or file of the host that the plugin sees. */
export interface SandboxBind {
  /** Absolute host path; symbolic links are followed before it is checked. */
  source: string;
  /** Absolute path inside. System folders, /plugin and /tmp itself are refused. */
  target: string;
  writable: boolean;
}

/** One process to start in a sandbox of its own. */
export interface SandboxSpec {
  /** Plugin id, for the cgroup's name and for messages. */
  name: string;
  /** Program and arguments, as seen inside the sandbox. A name without a slash is looked up in PATH. */
  command: readonly [string, ...string[]];
  /** Host folder, mounted read-only at /plugin, which is also the working directory. */
  root: string;
  /** Granted folders and files. */
  binds: readonly SandboxBind[];
  /** The whole environment apart from PATH, HOME and LANG. Never secrets. */
  env: Readonly<Record<string, string>>;
  limits: SandboxLimits;
  /** Gives the plugin a socket pair on descriptor 4. */
  hostChannel: boolean;
}

/** How a sandbox ended. */
export interface SandboxExit {
  /** Exit code, or null when a signal ended it. */
  code: number | null;
  /** The signal. Bubblewrap folds signals into codes above 128, so an exit with 128 + n reads as signal n. */
  signal: NodeJS.Signals | null;
  /** `memory`: over its memory limit. `killed`: by {@link SandboxedProcess.kill}, or over its task limit when sampled. */
  cause: "exit" | "signal" | "memory" | "killed";
}

/** What a sandbox uses now. After its end: no memory, no processes, and the processor time last measured. */
export interface SandboxUsage {
  memoryBytes: number;
  cpuSeconds: number;
  /** Processes (not threads), without the sandbox's own. */
  processes: number;
}

/** A running sandbox. */
export interface SandboxedProcess {
  /** Host pid of the sandbox's first process (pid 1 inside). */
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** The host's end of descriptor 4; present when the spec asked for `hostChannel`. */
  readonly channel?: Duplex;
  /** Resolves, never rejects, once every process is gone and the cgroup is removed. */
  readonly exited: Promise<SandboxExit>;
  /** Current use. */
  usage(): Promise<SandboxUsage>;
  /** Kills everything inside at once and waits until it is gone. Safe to call again and after the end. */
  kill(): Promise<void>;
}

/** Starts processes in isolation. */
export interface Sandbox {
  readonly level: "process";
  /**
   * Starts a process and resolves once the sandbox around it stands.
   *
   * @throws SandboxError `SANDBOX_INVALID_SPEC`, `SANDBOX_START_FAILED` or `SANDBOX_START_TIMEOUT`; nothing is left behind
   */
  start(spec: SandboxSpec): Promise<SandboxedProcess>;
}

/** The limits and walls a report speaks of. */
export type LimitName = "memory" | "cpu" | "processes" | "openFiles" | "tmp" | "network" | "seccomp";

/** What holds a limit. */
export interface LimitEnforcement {
  enforcedBy:
    | "kernel cgroup v2"
    | "kernel cgroup v1"
    | "rlimit"
    | "namespace"
    | "seccomp"
    | "host sampling"
    | "nothing";
  /** One sentence for an operator. */
  detail: string;
}

/** What this machine can enforce. */
export interface EnforcementReport {
  level: "process";
  available: boolean;
  /** What has to be mended, with the command that does it. Empty when all is there. */
  missing: string[];
  limits: Record<LimitName, LimitEnforcement>;
}
