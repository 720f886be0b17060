// Processor time of another process, where /proc tells it.
import { readFileSync } from "node:fs";

/** USER_HZ, the unit of the times in /proc/<pid>/stat: 100 on every architecture we know. */
const TICKS_PER_SECOND = 100;

/** Seconds of user and kernel mode, all threads. */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [user = 0, kernel = 0] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13)
    .map(Number);
  return (user + kernel) / TICKS_PER_SECOND;
}
