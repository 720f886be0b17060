import type { SandboxLimits } from "./types.ts";

/**
 * What RLIMIT_DATA counts though nobody touches it: V8 reserves half a gibibyte for the code of each of its threads. So
 * this limit is only a backstop against one huge allocation; the limit proper is kept by sampling.
 */
const ADDRESS_RESERVE_BYTES = 4 * 1024 * 1024 * 1024;
const MINIMUM_FILE_BYTES = 1024 * 1024 * 1024;
/** Bubblewrap's process inside the sandbox, and the one that is about to be limited. */
const TASKS_OF_THE_SANDBOX = 2;

/**
 * Options of `prlimit` (util-linux). Descriptors, core files and the size of one file are always limited; where no cgroup
 * counts for all processes together, data and tasks are limited too, as well as a limit for each process can.
 */
export function rlimitArguments(limits: SandboxLimits, cgroup: boolean): string[] {
  // Above tmpBytes, so that a full /tmp says ENOSPC instead of ending the process with SIGXFSZ.
  const fileBytes = Math.max(2 * limits.tmpBytes, MINIMUM_FILE_BYTES);
  const always = [both("nofile", limits.maxOpenFiles), both("core", 0), both("fsize", fileBytes)];
  if (cgroup) return always;
  return [
    ...always,
    both("data", limits.memoryBytes + ADDRESS_RESERVE_BYTES),
    both("nproc", limits.maxProcesses + TASKS_OF_THE_SANDBOX),
  ];
}

/** Soft and hard: without capabilities a process cannot take a hard limit back. */
function both(name: string, value: number): string {
  return `--${name}=${value}:${value}`;
}
