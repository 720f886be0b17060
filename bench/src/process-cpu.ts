// CPU time of another process, where the system tells.
import { readFileSync } from "node:fs";

/** What a process has used so far, in microseconds. Linux counts in hundredths of a second, whatever its own clock's rate
 * (`man 5 proc`: fields utime and stime). */
export function cpuMicrosOf(pid: number): number | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ");
    return fields && (Number(fields[11]) + Number(fields[12])) * 10_000;
  } catch {
    return undefined;
  }
}
