// Rounds: every subject in turn, again and again, so that whatever else the machine does falls on all of them.
import type { Series } from "../report.ts";
import { rotate } from "../statistics.ts";
import type { Workload } from "./load.ts";
import type { Measurement, Pair } from "./pair.ts";

/** How long and how often. */
export interface Plan {
  readonly rounds: number;
  readonly runMs: number;
  readonly warmUpMs: number;
  readonly allocationMs: number;
}

export const FULL: Plan = { rounds: 5, runMs: 2000, warmUpMs: 1500, allocationMs: 1500 };
/** Sized so that a suite ends within a minute on two slow cores. */
export const QUICK: Plan = { rounds: 3, runMs: 250, warmUpMs: 300, allocationMs: 300 };

const metrics = [
  ["rate", "perSecond", undefined],
  ["p50", "p50Ms", "ms"],
  ["p99", "p99Ms", "ms"],
  ["client CPU", "clientCpuMicros", "µs"],
  ["server CPU", "serverCpuMicros", "µs"],
] as const satisfies readonly (readonly [string, keyof Measurement, string | undefined])[];

/** Measures one workload for each pair, in turns. */
export async function measureInTurns(
  name: string,
  workload: Workload,
  pairs: readonly Pair[],
  plan: Plan,
  signal: AbortSignal,
): Promise<Series[]> {
  const found = new Map<Pair, Measurement[]>(pairs.map((pair) => [pair, []]));
  for (const pair of pairs) await pair.measure(workload, plan.warmUpMs);
  for (let round = 0; round < plan.rounds; round++)
    for (const pair of rotate(pairs, round)) {
      signal.throwIfAborted();
      found.get(pair)?.push(await pair.measure(workload, plan.runMs));
    }
  const [operation, wanted] = workload.kind === "unary" ? ["calls", metrics] : ["messages", metrics];
  return [...found].flatMap(([{ subject }, rounds]) => [
    ...wanted.map(([metric, key, unit]) => ({
      workload: name,
      subject,
      metric: key === "perSecond" ? operation : metric,
      unit: unit ?? `${operation}/s`,
      rounds: rounds.map((each) => each[key]),
    })),
    {
      workload: name,
      subject,
      metric: "CPU",
      unit: "µs",
      rounds: rounds.map((each) => each.clientCpuMicros + each.serverCpuMicros),
    },
  ]);
}

/** Samples the allocations of one workload for each pair. */
export async function measureAllocations(
  name: string,
  workload: Workload,
  pairs: readonly Pair[],
  plan: Plan,
): Promise<Series[]> {
  const series: Series[] = [];
  for (const { subject, allocation } of await eachInTurn(pairs, (pair) => pair.allocations(workload, plan.allocationMs)))
    series.push(
      { workload: name, subject, metric: "client heap", unit: "B", rounds: [allocation.client] },
      { workload: name, subject, metric: "server heap", unit: "B", rounds: [allocation.server] },
    );
  return series;
}
