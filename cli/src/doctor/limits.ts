// Which limits the kernel enforces here, seen by setting them.
import { mkdir, readFile, rmdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemCode } from "../errors.ts";
import type { Finding } from "./finding.ts";
import { run, which } from "./run.ts";

const root = "/sys/fs/cgroup";

/** A place for cgroups, and the file in it that limits memory. */
interface Hierarchy {
  readonly version: "v1" | "v2";
  readonly folder: string;
  readonly memoryFile: string;
}

/** Tries a cgroup and a resource limit, and says which of them will hold plugins. */
export async function checkLimits(folders: readonly string[], node: string): Promise<Finding[]> {
  const [hierarchy, prlimit] = await Promise.all([findHierarchy(), which("prlimit", folders)]);
  const [cgroup, resource] = await Promise.all([checkCgroup(hierarchy), checkResourceLimit(prlimit, node)]);
  if (cgroup.state === "ok" || resource.state === "ok") return [cgroup, resource];
  return [cgroup, { ...resource, state: "missing" }];
}

async function findHierarchy(): Promise<Hierarchy | undefined> {
  const own = await readFile("/proc/self/cgroup", "utf8").catch(() => "");
  const pathIn = (pattern: RegExp): string => pattern.exec(own)?.[1] ?? "/";
  if (await exists(join(root, "cgroup.controllers")))
    return { version: "v2", folder: join(root, pathIn(/^0::(.*)$/m)), memoryFile: "memory.max" };
  if (!(await exists(join(root, "memory")))) return undefined;
  // In a container the path may be the host's: then the container's own root is what is mounted.
  const folder = join(root, "memory", pathIn(/^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m));
  return {
    version: "v1",
    folder: (await exists(folder)) ? folder : join(root, "memory"),
    memoryFile: "memory.limit_in_bytes",
  };
}

async function checkCgroup(hierarchy: Hierarchy | undefined): Promise<Finding> {
  const finding = { group: "limits", name: "cgroup" } as const;
  if (!hierarchy)
    return { ...finding, state: "warning", detail: "none is mounted: limits are set for each process, by prlimit" };
  const leaf = join(hierarchy.folder, `warren-doctor-${process.pid}`);
  try {
    await mkdir(leaf);
    await writeFile(join(leaf, hierarchy.memoryFile), "67108864");
    return {
      ...finding,
      state: "ok",
      detail: `${hierarchy.version}, writable: the memory of all processes of a plugin together`,
    };
  } catch (error) {
    return {
      ...finding,
      state: "warning",
      detail: `${hierarchy.version}, not writable (${systemCode(error)}): limits are set for each process, by prlimit`,
      mend:
        hierarchy.version === "v2"
          ? "run it in a delegated cgroup: systemd-run --user --scope -p Delegate=yes warren up"
          : "boot with systemd.unified_cgroup_hierarchy=1 and delegate a cgroup",
    };
  } finally {
    await rmdir(leaf).catch(() => undefined);
  }
}

/** Lets a process ask for more memory than it may have: the kernel must stop it, and must not stop a modest one. */
async function checkResourceLimit(prlimit: string | undefined, node: string): Promise<Finding> {
  const finding = { group: "limits", name: "memory per process" } as const;
  if (!prlimit) return { ...finding, state: "warning", detail: "prlimit is not installed" };
  const limited = ["--data=1073741824", "--", node, "-e"];
  const [modest, greedy] = await Promise.all([
    run(prlimit, [...limited, ""]),
    run(prlimit, [...limited, "Buffer.alloc(2 ** 31).fill(1)"]),
  ]);
  if (modest.code === 0 && greedy.code !== 0)
    return { ...finding, state: "ok", detail: "the kernel enforces RLIMIT_DATA" };
  return { ...finding, state: "warning", detail: "the kernel does not enforce RLIMIT_DATA" };
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}
