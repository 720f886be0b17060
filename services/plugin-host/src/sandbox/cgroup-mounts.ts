import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { CgroupDriver } from "./cgroup.ts";
import { cgroupV1Driver } from "./cgroup-v1.ts";
import { cgroupV2Driver, delegateOwnCgroup, prepareCgroup } from "./cgroup-v2.ts";
import { reasonOf } from "./errors.ts";

/** A mounted hierarchy and where this process is in it. */
export interface CgroupMount {
  version: "v1" | "v2";
  /** Controllers of a version 1 hierarchy. */
  controllers: readonly string[];
  mountPoint: string;
  /** The folder of this process's own cgroup. */
  own: string;
}

const V1_CONTROLLERS = ["memory", "pids", "cpu", "cpuacct"] as const;
const V2_CONTROLLERS = ["cpu", "memory", "pids"];

/** Reads `/proc/self/mountinfo` (proc_pid_mountinfo(5)) and `/proc/self/cgroup` (cgroups(7)). */
export function parseCgroupMounts(mountinfo: string, cgroup: string): CgroupMount[] {
  const paths = new Map<string, string>();
  for (const line of cgroup.split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    for (const controller of controllers.split(",")) paths.set(controller, path);
  }
  return mountinfo.split("\n").flatMap((line): CgroupMount[] => {
    const [front = "", back = ""] = line.split(" - ");
    const [, , , root = "/", mountPoint = ""] = front.split(" ");
    const [type = "", , superOptions = ""] = back.split(" ");
    if (type !== "cgroup" && type !== "cgroup2") return [];
    const controllers = type === "cgroup" ? superOptions.split(",") : [];
    const path = type === "cgroup2" ? paths.get("") : controllers.map((name) => paths.get(name)).find((found) => found);
    if (path === undefined) return [];
    // In a container the mount may show only a part of the hierarchy, while the path counts from its true root.
    const below = root !== "/" && (path === root || path.startsWith(`${root}/`)) ? path.slice(root.length) : path;
    return [{ version: type === "cgroup2" ? "v2" : "v1", controllers, mountPoint, own: join(mountPoint, below) }];
  });
}

/**
 * Finds the hierarchies that can limit, and opens the parent of the leaves: `auto` is the cgroup this process is in, else
 * a path from the root of the hierarchy, made if it is not there.
 *
 * @throws Error saying which controller is missing or which file cannot be written
 */
export async function openCgroups(parent: string): Promise<CgroupDriver> {
  const [mountinfo, cgroup] = await Promise.all(
    ["/proc/self/mountinfo", "/proc/self/cgroup"].map((path) => readFile(path, "utf8")),
  );
  const mounts = parseCgroupMounts(mountinfo ?? "", cgroup ?? "");
  const unified = mounts.find(({ version }) => version === "v2");
  const driver =
    unified !== undefined && (await canLimit(unified.mountPoint))
      ? await openV2(unified, parent)
      : await openV1(mounts, parent);
  // By doing: whoever may make a folder may still not be allowed to write its limits.
  const trial = await driver.createLeaf("trial", {
    memoryBytes: 64 * 1024 * 1024,
    cpus: 1,
    maxProcesses: 8,
    maxOpenFiles: 64,
    tmpBytes: 4096,
  });
  if (!(await trial.remove())) throw new Error(`the cgroup of ${trial.membershipFiles[0] ?? ""} cannot be removed`);
  return driver;
}

/** On systems with both versions, the controllers are in one of them. */
async function canLimit(mountPoint: string): Promise<boolean> {
  const available = (await readFile(join(mountPoint, "cgroup.controllers"), "utf8")).trim().split(/\s+/);
  return V2_CONTROLLERS.every((controller) => available.includes(controller));
}

async function openV2(mount: CgroupMount, parent: string): Promise<CgroupDriver> {
  const folder =
    parent === "auto"
      ? await delegateOwnCgroup(mount.own, V2_CONTROLLERS)
      : await prepareCgroup(mount.mountPoint, parent, V2_CONTROLLERS);
  return cgroupV2Driver(folder);
}

async function openV1(mounts: readonly CgroupMount[], parent: string): Promise<CgroupDriver> {
  const folder = async (controller: (typeof V1_CONTROLLERS)[number]): Promise<string> => {
    const mount = mounts.find(({ version, controllers }) => version === "v1" && controllers.includes(controller));
    if (mount === undefined) throw new Error(`no cgroup hierarchy with the ${controller} controller is mounted`);
    const path = parent === "auto" ? mount.own : join(mount.mountPoint, parent);
    try {
      await mkdir(path, { recursive: true });
    } catch (error) {
      throw new Error(`the cgroup ${path} cannot be used: ${reasonOf(error)}`, { cause: error });
    }
    return path;
  };
  const [memory, pids, cpu, cpuacct] = await Promise.all([
    folder("memory"),
    folder("pids"),
    folder("cpu"),
    folder("cpuacct"),
  ]);
  return cgroupV1Driver({ memory, pids, cpu, cpuacct });
}
