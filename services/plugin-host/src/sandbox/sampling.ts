import { readdir, readFile } from "node:fs/promises";
import { startTime } from "./cgroup.ts";
import type { SandboxLimits, SandboxUsage } from "./types.ts";

/** USER_HZ, the unit of the times in /proc/<pid>/stat: 100 on every architecture we know. */
const TICKS_PER_SECOND = 100;

/** Which limit a sandbox went over. */
export type ExceededLimit = "memory" | "processes";

/**
 * Sums up the processes of a sandbox by the /proc inside it, which lists these and no others. Memory is the proportional
 * set size: pages shared between processes count once.
 *
 * @param init host pid of the sandbox's pid 1
 */
export async function sampleUsage(init: number): Promise<SandboxUsage & { tasks: number }> {
  const proc = `/proc/${init}/root/proc`;
  const names = await readdir(proc).catch(() => []);
  const samples = await Promise.all(names.filter((name) => /^\d+$/.test(name)).map((pid) => sampleProcess(proc, pid)));
  const sum = { memoryBytes: 0, cpuSeconds: 0, processes: 0, tasks: 0 };
  for (const { pid, memoryBytes, cpuSeconds, threads } of samples) {
    sum.memoryBytes += memoryBytes;
    sum.cpuSeconds += cpuSeconds;
    if (pid === "1") continue;
    sum.processes += 1;
    sum.tasks += threads;
  }
  return sum;
}

/** Watches a sandbox that no cgroup limits, and calls `onExceeded` once. Returns how to stop. */
export function watchLimits(
  init: number,
  limits: SandboxLimits,
  intervalMs: number,
  onExceeded: (limit: ExceededLimit) => void,
): () => void {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const look = async (): Promise<void> => {
    const { memoryBytes, tasks } = await sampleUsage(init);
    if (stopped) return;
    if (memoryBytes > limits.memoryBytes) return onExceeded("memory");
    if (tasks > limits.maxProcesses) return onExceeded("processes");
    timer = setTimeout(() => void look(), intervalMs).unref();
  };
  void look();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

/** Whether the process that started at `started` still runs under this pid. */
export async function isAlive(pid: number, started: string | undefined): Promise<boolean> {
  return started !== undefined && (await startTime(pid)) === started && !(await isZombie(pid));
}

async function isZombie(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return /^\) [ZX]/.test(stat.slice(stat.lastIndexOf(")")));
}

async function sampleProcess(
  proc: string,
  pid: string,
): Promise<{ pid: string; memoryBytes: number; cpuSeconds: number; threads: number }> {
  const read = (file: string): Promise<string> => readFile(`${proc}/${pid}/${file}`, "utf8").catch(() => "");
  const [rollup, status, stat] = await Promise.all([read("smaps_rollup"), read("status"), read("stat")]);
  // Without the proportional size, the resident one: it counts shared pages too often, never too seldom.
  const kibibytes = /^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? /^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? "0";
  // From field 3 on; 14 to 17 are the times in user and kernel mode, its own and those of children it has waited for.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return {
    pid,
    memoryBytes: Number(kibibytes) * 1024,
    cpuSeconds: ticks / TICKS_PER_SECOND,
    threads: Number(fields[17] ?? 0),
  };
}
