import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
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
import type { SandboxLimits } from "./types.ts";

/** Where the host itself sits, once it has left the cgroup it shares out. */
const HOST_LEAF = "warren-host";

/** The files to write (`Documentation/admin-guide/cgroup-v2.rst` of Linux). */
export function v2Settings(limits: SandboxLimits): readonly [file: string, value: string][] {
  return [
    ["memory.max", String(limits.memoryBytes)],
    ["memory.swap.max", "0"],
    ["memory.oom.group", "1"],
    ["pids.max", String(limits.maxProcesses + TASKS_OF_BUBBLEWRAP)],
    ["cpu.max", `${cpuQuota(limits.cpus)} ${CPU_PERIOD_US}`],
  ];
}

/**
 * Prepares the cgroup this process is in for children with limits: a cgroup that shares out controllers must hold no
 * process, so the host moves into a child of its own, as systemd asks of services it delegates a tree to.
 * Returns the folder in which leaves can be made.
 */
export async function delegateOwnCgroup(own: string, controllers: readonly string[]): Promise<string> {
  const parent = basename(own) === HOST_LEAF ? dirname(own) : own;
  if (await sharesOut(parent, controllers)) return parent;
  try {
    await shareOut(parent, controllers);
    return parent;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EBUSY") throw error;
  }
  const host = join(parent, HOST_LEAF);
  await mkdir(host, { recursive: true });
  await writeFile(join(host, "cgroup.procs"), String(process.pid));
  try {
    await shareOut(parent, controllers);
  } catch (error) {
    // Somebody else's process is in the way: leave things as they were.
    await writeFile(join(parent, "cgroup.procs"), String(process.pid));
    await rmdir(host);
    throw error;
  }
  return parent;
}

/** Makes the cgroup at `path` under the hierarchy's `mount` and shares the controllers out along the way. */
export async function prepareCgroup(mount: string, path: string, controllers: readonly string[]): Promise<string> {
  let folder = mount;
  for (const segment of ["", ...path.split("/").filter((part) => part !== "")]) {
    folder = join(folder, segment);
    await mkdir(folder, { recursive: true });
    if (!(await sharesOut(folder, controllers))) await shareOut(folder, controllers);
  }
  return folder;
}

/** Leaves in the one hierarchy of cgroups version 2. */
export function cgroupV2Driver(parent: string): CgroupDriver {
  return {
    version: "v2",
    async createLeaf(name, limits) {
      const folder = join(parent, await leafName(name));
      await mkdir(folder);
      try {
        for (const [file, value] of v2Settings(limits)) await writeSetting(join(folder, file), value);
      } catch (error) {
        await removeCgroups([folder]);
        throw error;
      }
      return v2Leaf(folder);
    },
    async removeStale() {
      const names = await staleLeaves(parent);
      await removeCgroups(names.map((name) => join(parent, name)));
      return names;
    },
  };
}

function v2Leaf(folder: string): CgroupLeaf {
  const read = (file: string): Promise<string> => readFile(join(folder, file), "utf8");
  return {
    membershipFiles: [join(folder, "cgroup.procs")],
    async usage() {
      const [used, memory, cpu, pids] = await Promise.all([
        read("memory.current"),
        read("memory.stat"),
        read("cpu.stat"),
        members(folder),
      ]);
      return {
        memoryBytes: Math.max(0, Number(used) - (keyedValue(memory, "inactive_file") ?? 0)),
        cpuSeconds: (keyedValue(cpu, "usage_usec") ?? 0) / 1e6,
        processes: Math.max(0, pids.length - TASKS_OF_BUBBLEWRAP),
      };
    },
    memoryKills: async () => keyedValue(await read("memory.events"), "oom_kill") ?? 0,
    remove: () => removeCgroups([folder]),
  };
}

async function sharesOut(folder: string, controllers: readonly string[]): Promise<boolean> {
  const shared = (await readFile(join(folder, "cgroup.subtree_control"), "utf8")).trim().split(/\s+/);
  return controllers.every((controller) => shared.includes(controller));
}

async function shareOut(folder: string, controllers: readonly string[]): Promise<void> {
  await writeFile(join(folder, "cgroup.subtree_control"), controllers.map((controller) => `+${controller}`).join(" "));
}

/** Kernels without swap have no swap file to write, and those before 4.19 no group kill. */
async function writeSetting(path: string, value: string): Promise<void> {
  const optional = path.endsWith("/memory.swap.max") || path.endsWith("/memory.oom.group");
  if (optional && (await readFile(path).catch(() => undefined)) === undefined) return;
  await writeFile(path, value);
}
