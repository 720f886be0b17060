import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CgroupDriver, CgroupLeaf } from "./cgroup.ts";
import {
  CPU_PERIOD_US,
  cpuQuota,
  keyedValue,
  leafName,
  members,
  removeCgroups,
  staleLeaves,
  TASKS_OF_BUBBLEWRAP,
} from "./cgroup.ts";
import type { SandboxLimits, SandboxUsage } from "./types.ts";

/** The parent's folder in each hierarchy; two controllers mounted together have the same one. */
export interface CgroupV1Parents {
  memory: string;
  pids: string;
  cpu: string;
  cpuacct: string;
}

/** The files to write, in this order: the memory limit must be there before the one for memory and swap together. */
export function v1Settings(
  limits: SandboxLimits,
): readonly [controller: keyof CgroupV1Parents, file: string, value: string][] {
  return [
    ["memory", "memory.limit_in_bytes", String(limits.memoryBytes)],
    ["memory", "memory.memsw.limit_in_bytes", String(limits.memoryBytes)],
    ["memory", "memory.swappiness", "0"],
    ["memory", "memory.oom_control", "0"],
    ["pids", "pids.max", String(limits.maxProcesses + TASKS_OF_BUBBLEWRAP)],
    ["cpu", "cpu.cfs_period_us", String(CPU_PERIOD_US)],
    ["cpu", "cpu.cfs_quota_us", String(cpuQuota(limits.cpus))],
  ];
}

/** Leaves in the hierarchies of cgroups version 1 (`Documentation/admin-guide/cgroup-v1` of Linux). */
export function cgroupV1Driver(parents: CgroupV1Parents): CgroupDriver {
  const folders = [...new Set(Object.values(parents) as string[])];
  return {
    version: "v1",
    async createLeaf(name, limits) {
      const leaf = await leafName(name);
      const made: string[] = [];
      try {
        for (const folder of folders) {
          await mkdir(join(folder, leaf));
          made.push(join(folder, leaf));
        }
        for (const [controller, file, value] of v1Settings(limits)) {
          await writeSetting(join(parents[controller], leaf, file), value);
        }
      } catch (error) {
        await removeCgroups(made);
        throw error;
      }
      return v1Leaf(parents, leaf, made);
    },
    async removeStale() {
      const names = new Set((await Promise.all(folders.map(staleLeaves))).flat());
      await removeCgroups([...names].flatMap((name) => folders.map((folder) => join(folder, name))));
      return [...names];
    },
  };
}

function v1Leaf(parents: CgroupV1Parents, leaf: string, folders: readonly string[]): CgroupLeaf {
  const read = (controller: keyof CgroupV1Parents, file: string): Promise<string> =>
    readFile(join(parents[controller], leaf, file), "utf8");
  return {
    membershipFiles: folders.map((folder) => join(folder, "cgroup.procs")),
    async usage(): Promise<SandboxUsage> {
      const [used, stat, nanoseconds, pids] = await Promise.all([
        read("memory", "memory.usage_in_bytes"),
        read("memory", "memory.stat"),
        read("cpuacct", "cpuacct.usage"),
        members(join(parents.pids, leaf)),
      ]);
      // Pages of files nobody has looked at lately are the kernel's to take back.
      const reclaimable = keyedValue(stat, "total_inactive_file") ?? 0;
      return {
        memoryBytes: Math.max(0, Number(used) - reclaimable),
        cpuSeconds: Number(nanoseconds) / 1e9,
        processes: Math.max(0, pids.length - TASKS_OF_BUBBLEWRAP),
      };
    },
    async memoryKills() {
      // Before Linux 4.13 nobody counted the kills; the failed allocations are the nearest.
      return (
        keyedValue(await read("memory", "memory.oom_control"), "oom_kill") ??
        Number(await read("memory", "memory.failcnt"))
      );
    },
    remove: () => removeCgroups(folders),
  };
}

/** Kernels without swap accounting have no file for it, and need none if there is no swap to count. */
async function writeSetting(path: string, value: string): Promise<void> {
  const optional = path.endsWith("/memory.memsw.limit_in_bytes");
  if (optional && (await readFile(path).catch(() => undefined)) === undefined) return;
  await writeFile(path, value);
}
