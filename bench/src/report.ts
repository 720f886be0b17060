// What a suite found: one document for programs, tables for people.
import type { Machine } from "./machine.ts";
import { median } from "./statistics.ts";

/** One figure. */
export interface Result {
  readonly workload: string;
  readonly subject: string;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
}

/** How many times better `subject` is than `peer`: above 1 it is better, whatever the metric. */
export interface Ratio {
  readonly workload: string;
  readonly metric: string;
  readonly subject: string;
  readonly peer: string;
  readonly ratio: number;
}

export interface Report {
  readonly suite: string;
  readonly machine: Machine;
  readonly results: readonly Result[];
  readonly ratios: readonly Ratio[];
}

/** A figure measured several times: one value a round, rounds of all subjects taken in turns. */
export interface Series extends Omit<Result, "value"> {
  readonly rounds: readonly number[];
}

/** The medians of what was measured. */
export function toResults(series: readonly Series[]): Result[] {
  return series.map(({ rounds, ...rest }) => ({ ...rest, value: round(median(rounds)) }));
}

/**
 * How each of `subjects` compares with every other that is not one of them. A ratio is the median of the ratios round
 * by round: both sides of one stand next to each other in time, so that what else the machine does weighs on both.
 */
export function toRatios(
  series: readonly Series[],
  subjects: readonly string[],
  peers = series.map(({ subject }) => subject).filter((subject) => !subjects.includes(subject)),
): Ratio[] {
  const ours = series.filter((each) => subjects.includes(each.subject));
  return ours.flatMap((our) =>
    series
      .filter((each) => peers.includes(each.subject) && each.workload === our.workload)
      .filter((each) => each.metric === our.metric)
      .map((peer) => ({
        workload: our.workload,
        metric: our.metric,
        subject: our.subject,
        peer: peer.subject,
        ratio: round(median(our.rounds.map((value, i) => better(our.unit, value, peer.rounds[i] ?? Number.NaN)))),
      })),
  );
}

/** Rates are better when higher, all else (times, bytes) when lower. */
function better(unit: string, ours: number, theirs: number): number {
  return unit.endsWith("/s") ? ours / theirs : theirs / ours;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

/** Tables: one a workload, a row a subject, then the ratios. */
export function formatReport({ suite, machine, results, ratios }: Report): string {
  const { cpu, cores, memoryGiB, os, node, loadBefore } = machine;
  const head = `${suite}: ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${os}, Node.js ${node}, load before ${loadBefore}`;
  const parts = unique(results.map(({ workload }) => workload)).map((workload) => {
    const own = results.filter((each) => each.workload === workload);
    const metrics = unique(own.map(({ metric }) => metric));
    const unitOf = (metric: string): string => own.find((each) => each.metric === metric)?.unit ?? "";
    const rows = unique(own.map(({ subject }) => subject)).map((subject) => [
      subject,
      ...metrics.map((metric) => number(own.find((each) => each.subject === subject && each.metric === metric)?.value)),
    ]);
    const compared = ratios.filter((each) => each.workload === workload);
    for (const pair of unique(compared.map(({ subject, peer }) => `${subject} : ${peer}`)))
      rows.push([
        pair,
        ...metrics.map((metric) => {
          const of = compared.find((each) => `${each.subject} : ${each.peer}` === pair && each.metric === metric);
          return of ? `×${number(of.ratio)}` : "";
        }),
      ]);
    return formatTable([workload, ...metrics.map((metric) => `${metric} (${unitOf(metric)})`)], rows);
  });
  return [head, ...parts, ...(ratios.length ? ["A ratio (×) above 1: the first is better."] : [])].join("\n\n");
}

/** Rows of cells as a Markdown table, aligned. */
function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (i ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join(" | ")} |`;
  const rule = `|${widths.map((width, i) => (i ? `${"-".repeat(width + 1)}:` : `:${"-".repeat(width + 1)}`)).join("|")}|`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}

function number(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return value.toPrecision(3);
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}
