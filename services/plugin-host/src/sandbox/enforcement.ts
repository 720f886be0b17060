import type { CgroupDriver } from "./cgroup.ts";
import type { EnforcementReport, LimitEnforcement } from "./types.ts";

/**
 * What holds each limit.
 *
 * @param cgroups the driver in use, or why there is none
 * @param isRoot whether the host runs as root, for whom the kernel counts no tasks
 */
export function describeEnforcement(cgroups: CgroupDriver | string, isRoot: boolean): EnforcementReport["limits"] {
  const common = {
    openFiles: { enforcedBy: "rlimit", detail: "RLIMIT_NOFILE of each process" },
    tmp: { enforcedBy: "namespace", detail: "/tmp and /dev/shm are tmpfs of the given size; the rest is read-only" },
    network: { enforcedBy: "namespace", detail: "a network namespace with nothing in it but a loopback device" },
    seccomp: { enforcedBy: "seccomp", detail: "system calls are filtered by number and argument" },
  } satisfies Partial<EnforcementReport["limits"]>;
  if (typeof cgroups !== "string") {
    const enforcedBy: LimitEnforcement["enforcedBy"] = `kernel cgroup ${cgroups.version}`;
    return {
      ...common,
      memory: { enforcedBy, detail: "all processes and tmpfs pages together, without swap" },
      cpu: { enforcedBy, detail: "bandwidth over periods of 100 ms" },
      processes: { enforcedBy, detail: "processes and threads together" },
    };
  }
  return {
    ...common,
    memory: {
      enforcedBy: "host sampling",
      detail: `proportional set size of all processes, RLIMIT_DATA of each against bursts; no cgroup: ${cgroups}`,
    },
    cpu: { enforcedBy: "nothing", detail: `only a cgroup can: ${cgroups}` },
    processes: isRoot
      ? { enforcedBy: "host sampling", detail: `RLIMIT_NPROC does not count for root; no cgroup: ${cgroups}` }
      : { enforcedBy: "rlimit", detail: `RLIMIT_NPROC inside the user namespace, and sampling; no cgroup: ${cgroups}` },
  };
}
