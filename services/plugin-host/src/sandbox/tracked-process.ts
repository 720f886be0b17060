import type { ChildProcess } from "node:child_process";
import { constants } from "node:os";
import type { Duplex, Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { FD } from "./bubblewrap.ts";
import type { CgroupLeaf } from "./cgroup.ts";
import { startTime } from "./cgroup.ts";
import type { ExceededLimit } from "./sampling.ts";
import { isAlive, sampleUsage, watchLimits } from "./sampling.ts";
import type { SandboxedProcess, SandboxExit, SandboxLimits, SandboxUsage } from "./types.ts";

/** After this, a kill that bwrap has not answered goes to bwrap itself. */
const ESCALATION_MS = 1000;
/** How long the output of a dead process waits for a slow reader. */
const OUTPUT_GRACE_MS = 5000;
const GONE_DEADLINE_MS = 5000;

/** Of two names for one number (SIGABRT, SIGIOT), the first is the usual one, and the last entry of a map wins. */
const SIGNAL_NAMES = new Map(
  Object.entries(constants.signals)
    .toReversed()
    .map(([name, number]) => [number, name as NodeJS.Signals]),
);

/** A started bwrap and everything that has to be put away after it. */
export class TrackedProcess implements SandboxedProcess {
  pid = 0;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly channel?: Duplex;
  readonly exited: Promise<SandboxExit>;
  readonly #child: ChildProcess;
  readonly #leaf: CgroupLeaf | undefined;
  #started: string | undefined;
  #ended = false;
  #killed = false;
  #exceeded: ExceededLimit | undefined;
  #stopWatching = (): void => {};
  #lastUsage: SandboxUsage = { memoryBytes: 0, cpuSeconds: 0, processes: 0 };

  constructor(
    child: ChildProcess & { stdin: Writable; stdout: Readable; stderr: Readable },
    leaf: CgroupLeaf | undefined,
  ) {
    this.#child = child;
    this.#leaf = leaf;
    this.stdin = child.stdin;
    this.stdout = child.stdout;
    this.stderr = child.stderr;
    const channel = child.stdio[FD.channel];
    if (channel) this.channel = channel as Duplex;
    // A plugin that dies while it is written to is no error of the host's.
    for (const stream of child.stdio) stream?.on("error", () => {});
    const ended = new Promise<SandboxExit>((resolve) => {
      child.once("exit", (code, signal) => resolve(this.#put(code, signal)));
      // It was never started, so there will be no exit.
      child.once("error", () => child.pid === undefined && resolve(this.#put(127, null)));
    });
    this.exited = ended;
  }

  /** Once bwrap has told the host pid of the sandbox's pid 1. */
  async begin(pid: number): Promise<void> {
    this.pid = pid;
    this.#started = await startTime(pid);
  }

  /** Once the command runs, where no cgroup limits it. */
  watch(limits: SandboxLimits, intervalMs: number): void {
    if (this.#ended) return;
    this.#stopWatching = watchLimits(this.pid, limits, intervalMs, (limit) => {
      this.#exceeded = limit;
      this.#signal();
    });
  }

  async usage(): Promise<SandboxUsage> {
    if (!this.#ended) {
      try {
        this.#lastUsage = await this.#measure();
        return this.#lastUsage;
      } catch {
        // It ended meanwhile.
      }
    }
    return { ...this.#lastUsage, memoryBytes: 0, processes: 0 };
  }

  async kill(): Promise<void> {
    if (!this.#ended) {
      this.#killed = true;
      this.#signal();
    }
    await this.exited;
    for (const stream of this.#child.stdio) stream?.destroy();
  }

  /** When pid 1 of a pid namespace dies, the kernel kills all others in it, and bwrap ends after them. */
  #signal(): void {
    const escalation = setTimeout(() => this.#child.kill("SIGKILL"), ESCALATION_MS).unref();
    this.#child.once("exit", () => clearTimeout(escalation));
    try {
      if (this.pid > 0) process.kill(this.pid, "SIGKILL");
      else this.#child.kill("SIGKILL");
    } catch {
      // It ended by itself.
    }
  }

  async #measure(): Promise<SandboxUsage> {
    if (this.#leaf !== undefined) return this.#leaf.usage();
    const { memoryBytes, cpuSeconds, processes } = await sampleUsage(this.pid);
    // A sample of a sandbox that is just ending must not take back what was measured before.
    return { memoryBytes, cpuSeconds: Math.max(cpuSeconds, this.#lastUsage.cpuSeconds), processes };
  }

  async #put(code: number | null, signal: NodeJS.Signals | null): Promise<SandboxExit> {
    this.#ended = true;
    this.#stopWatching();
    let memoryKills = 0;
    if (this.#leaf !== undefined) {
      memoryKills = await this.#leaf.memoryKills().catch(() => 0);
      this.#lastUsage = await this.#leaf.usage().catch(() => this.#lastUsage);
    }
    await this.#waitUntilGone();
    await this.#leaf?.remove();
    this.#closeStreams();
    const folded = signal === null && code !== null && code > 128 ? SIGNAL_NAMES.get(code - 128) : undefined;
    const by = signal ?? folded ?? null;
    return { code: by === null ? code : null, signal: by, cause: this.#cause(by, memoryKills) };
  }

  #cause(signal: NodeJS.Signals | null, memoryKills: number): SandboxExit["cause"] {
    if (signal === null) return "exit";
    if (signal !== "SIGKILL") return "signal";
    if (this.#exceeded === "memory") return "memory";
    if (this.#exceeded === "processes" || this.#killed) return "killed";
    return memoryKills > 0 ? "memory" : "signal";
  }

  /** After a normal exit, bwrap is gone a moment before what is left in its pid namespace. */
  async #waitUntilGone(): Promise<void> {
    const deadline = performance.now() + GONE_DEADLINE_MS;
    for (let pause = 1; performance.now() < deadline; pause = Math.min(pause * 2, 50)) {
      if (!(await isAlive(this.pid, this.#started))) return;
      try {
        process.kill(this.pid, "SIGKILL");
      } catch {
        return;
      }
      await delay(pause);
    }
  }

  #closeStreams(): void {
    const [stdin, stdout, stderr, , channel, ...ours] = this.#child.stdio;
    for (const stream of [stdin, ...ours]) stream?.destroy();
    // What the plugin last said is still to be read, but nobody may keep the descriptors for ever.
    const timer = setTimeout(() => {
      for (const stream of [stdout, stderr, channel]) stream?.destroy();
    }, OUTPUT_GRACE_MS).unref();
    this.#child.once("close", () => clearTimeout(timer));
  }
}
