// A table for people.
import type { Outcome } from "./run.ts";

/** Whether nothing was lost, nobody was told an untruth, and the mesh came back in time. */
export function stood({ skipped, lost, dishonest, recoveryMs }: Outcome, mostMs: number): boolean {
  if (skipped !== undefined) return true;
  return lost.length === 0 && dishonest.length === 0 && recoveryMs !== undefined && recoveryMs <= mostMs;
}

/** Markdown: a row a fault; below it, what must not be. */
export function formatOutcomes(outcomes: readonly Outcome[]): string {
  const head = ["fault", "requests", "errors that clients saw", "longest wait", "well again after", "lost"];
  const rows = outcomes.map((outcome) =>
    outcome.skipped === undefined
      ? [
          outcome.fault,
          String(outcome.requests),
          errorText(outcome),
          seconds(outcome.longestMs),
          outcome.recoveryMs === undefined ? "never" : seconds(outcome.recoveryMs),
          outcome.lost.length === 0 ? "nothing" : `${outcome.lost.length}: ${outcome.lost[0]}`,
        ]
      : [outcome.fault, "", `skipped: ${outcome.skipped}`, "", "", ""],
  );
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  const notes = outcomes.flatMap(({ fault, dishonest, lost }) => [
    ...dishonest.map((text) => `${fault}: not an honest answer: ${text}`),
    ...lost.map((text) => `${fault}: lost: ${text}`),
  ]);
  return (
    [line(head), `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...rows.map(line)].join("\n") +
    (notes.length > 0 ? `\n\n${notes.join("\n")}` : "")
  );
}

function errorText({ errors }: Outcome): string {
  const words: Readonly<Record<string, string>> = { "0": "connection" };
  return (
    Object.entries(errors)
      .map(([status, count]) => `${count} × ${words[status] ?? status}`)
      .join(", ") || "none"
  );
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
