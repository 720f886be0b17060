// What a run found: one document for programs, a short table for people.
import { cpus, type } from "node:os";
import type { Outcome } from "./run.ts";

export interface Summary {
  readonly profile: string;
  readonly machine: string;
  readonly passed: boolean;
  readonly seconds: number;
  readonly outcomes: readonly Outcome[];
}

/** Joins what scenarios found. */
export function summarize(profile: string, outcomes: readonly Outcome[], seconds: number): Summary {
  const machine = `${cpus()[0]?.model ?? "unknown"}, ${cpus().length} cores, ${type()}, Node.js ${process.version}`;
  return { profile, machine, passed: outcomes.every(({ passed }) => passed), seconds, outcomes };
}

/** A table, and below it what did not hold. */
export function formatSummary({ profile, machine, seconds, outcomes, passed }: Summary): string {
  const head = [
    "scenario",
    "rate/s",
    "requests",
    "failed",
    "dropped",
    "measured",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "max ms",
    "",
  ];
  const rows = outcomes.flatMap((outcome) => {
    if (outcome.skipped !== undefined) return [[outcome.scenario, ...Array(9).fill(""), `skipped: ${outcome.skipped}`]];
    const { scenario, rate, iterations, failed, dropped } = outcome;
    return Object.entries(outcome.trends).map(([name, { p50, p95, p99, max }], i) => [
      ...(i === 0
        ? [scenario, rate.toFixed(0), String(iterations), String(failed), String(dropped)]
        : ["", "", "", "", ""]),
      name,
      ...[p50, p95, p99, max].map((ms) => ms.toFixed(1)),
      i === 0 ? (outcome.passed ? "passed" : "FAILED") : "",
    ]);
  });
  const broken = outcomes.flatMap(({ scenario, verdicts, reasons }) => [
    ...verdicts
      .filter(({ held }) => !held)
      .map(({ objective, found }) => `${scenario}: ${objective} did not hold: ${found}`),
    ...Object.entries(reasons).map(([reason, count]) => `${scenario}: ${count} × ${reason}`),
  ]);
  const held = outcomes
    .flatMap(({ scenario, verdicts }) => verdicts.map((each) => ({ scenario, ...each })))
    .filter((each) => each.held && /admitted|hosts|memory/.test(each.objective))
    .map(({ scenario, objective, found }) => `${scenario}: ${objective}: ${found}`);
  return [
    `profile ${profile}: ${machine}`,
    table(head, rows),
    ...(held.length ? [held.join("\n")] : []),
    ...(broken.length ? [broken.join("\n")] : []),
    `${outcomes.filter((each) => each.passed).length} passed, ${outcomes.filter((each) => !each.passed).length} failed in ${seconds.toFixed(0)} s${passed ? "" : ": an objective does not hold"}`,
  ].join("\n\n");
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => ((i >= 1 && i <= 4) || (i >= 6 && i <= 9) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join(" | ")} |`;
  return [line(head), `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`, ...rows.map(line)].join("\n");
}
