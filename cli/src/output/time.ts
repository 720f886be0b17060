// Times as people say them.

const steps = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1000],
] as const;

/** `3 minutes ago`, `in 5 minutes`, `now`; empty for no time. */
export function relativeTime(time: Date | undefined, now: number = Date.now()): string {
  if (!time || Number.isNaN(time.getTime())) return "";
  const difference = time.getTime() - now;
  for (const [unit, length] of steps) {
    const count = Math.trunc(Math.abs(difference) / length);
    if (count < 1) continue;
    const words = `${count} ${unit}${count === 1 ? "" : "s"}`;
    return difference < 0 ? `${words} ago` : `in ${words}`;
  }
  return "now";
}
