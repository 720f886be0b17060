// Spans of time as people type them.
import { usageError } from "../../errors.ts";

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/**
 * Reads a span such as `90d`, `12h`, `30m` or `45s`, in seconds.
 * @throws CliError (usage) naming `name`.
 */
export function seconds(name: string, text: string, most: number): number {
  const [, count = "", unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const span = Number(count) * (units[unit] ?? 0);
  if (span >= 1 && span <= most) return span;
  throw usageError(`${name} is "${text}": it must be a span such as 12h or 90d, at most ${Math.floor(most / 86_400)}d`);
}
