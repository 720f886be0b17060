// Times as OpenTelemetry takes and gives them, and as milliseconds since 1970.
import type { HrTime, TimeInput } from "@opentelemetry/api";

const NS_PER_MS = 1e6;

/** Seconds and nanoseconds. */
export function toHrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * NS_PER_MS)];
}

/** Milliseconds since 1970. A number that is no more than `performance.now()` is one of its clock. */
export function toMs(time: TimeInput): number {
  if (time instanceof Date) return time.getTime();
  if (Array.isArray(time)) return time[0] * 1000 + time[1] / NS_PER_MS;
  return time <= performance.now() ? performance.timeOrigin + time : time;
}
