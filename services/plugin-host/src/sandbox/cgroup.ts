import { readdir, readFile, readlink, rmdir, writeFile } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { SandboxLimits, SandboxUsage } from "./types.ts";

/** The cgroup of one sandbox. */
export interface CgroupLeaf {
  /** A process joins by writing its pid into each of these. */
  readonly membershipFiles: readonly string[];
  usage(): Promise<SandboxUsage>;
  /** How often the kernel has killed inside for lack of memory. */
  memoryKills(): Promise<number>;
  /** Kills what is left inside and removes it. Returns whether it is gone. */
  remove(): Promise<boolean>;
}

/** Makes leaves under one parent. */
export interface CgroupDriver {
  readonly version: "v1" | "v2";
  createLeaf(name: string, limits: SandboxLimits): Promise<CgroupLeaf>;
  /** Removes the leaves of hosts that are dead. Returns their names. */
  removeStale(): Promise<string[]>;
}

/** Bubblewrap's own two processes, which count against the limit of the cgroup but not of the plugin. */
export const TASKS_OF_BUBBLEWRAP = 2;
/** One turn of the processor's bandwidth control, in microseconds. */
export const CPU_PERIOD_US = 100_000;
/** The kernel takes no smaller quota than a millisecond. */
const MINIMUM_QUOTA_US = 1000;
const LEAF_NAME = /^warren-(\d+)-(\d+)-(\d+)-[0-9a-f]{8}-/;
const REMOVAL_DEADLINE_MS = 5000;

/** Microseconds of processor time in each period. */
export function cpuQuota(cpus: number): number {
  return Math.max(MINIMUM_QUOTA_US, Math.round(cpus * CPU_PERIOD_US));
}

/** A name nobody else uses, which says whose it is: pid namespace, pid and start time of this process. */
export async function leafName(name: string): Promise<string> {
  const owner = [await pidNamespace(), process.pid, await startTime(process.pid)].join("-");
  return `warren-${owner}-${randomBytes(4).toString("hex")}-${name.replaceAll(/[^A-Za-z0-9_.-]/g, "_").slice(0, 64)}`;
}

/** The leaves among the folders of `parent` whose host was of our pid namespace and is no more. */
export async function staleLeaves(parent: string): Promise<string[]> {
  const ours = await pidNamespace();
  const stale = [];
  for (const name of await readdir(parent)) {
    const [, namespace, pid, started] = LEAF_NAME.exec(name) ?? [];
    if (namespace === ours && (await startTime(Number(pid))) !== started) stale.push(name);
  }
  return stale;
}

/** Kills the processes in the given folders and removes these; false when some could not be removed in five seconds. */
export async function removeCgroups(folders: readonly string[]): Promise<boolean> {
  const deadline = performance.now() + REMOVAL_DEADLINE_MS;
  let left = [...folders];
  for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
    const gone = await Promise.all(left.map(removeCgroup));
    left = left.filter((_folder, index) => gone[index] === false);
    if (left.length === 0) return true;
    if (performance.now() > deadline) return false;
    await delay(pause);
  }
}

async function removeCgroup(folder: string): Promise<boolean> {
  try {
    await rmdir(folder);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return true;
  }
  await killMembers(folder);
  return false;
}

async function killMembers(folder: string): Promise<void> {
  // v2 has one file that kills all at once, even those that fork meanwhile; v1 is asked again until it is empty.
  const atOnce = await writeFile(join(folder, "cgroup.kill"), "1").then(
    () => true,
    () => false,
  );
  if (atOnce) return;
  for (const pid of await members(folder).catch(() => [])) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It ended between the listing and the kill.
    }
  }
}

/** Pids of the processes in a cgroup, as far as they are to be seen from here. */
export async function members(folder: string): Promise<number[]> {
  const text = await readFile(join(folder, "cgroup.procs"), "utf8");
  return text.split("\n").flatMap((line) => (Number(line) > 0 ? [Number(line)] : []));
}

/** The number behind `key` in a flat keyed file, such as memory.stat. */
export function keyedValue(text: string, key: string): number | undefined {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${key} `));
  return line === undefined ? undefined : Number(line.slice(key.length + 1));
}

/** Clock ticks since boot at which a process started; undefined when there is none. Field 22 of proc_pid_stat(5). */
export async function startTime(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

async function pidNamespace(): Promise<string> {
  return (await readlink("/proc/self/ns/pid")).replaceAll(/\D/g, "");
}
