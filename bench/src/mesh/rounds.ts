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
export const QUICK: Plan = { rounds: 3, runMs: 150, warmUpMs: 250, allocationMs: 200 };

type Metric = readonly [name: string, unit: string, of: (measured: Measurement) => number];

const cpuMetrics: readonly Metric[] = [
  ["CPU", "µs", ({ clientCpuMicros, serverCpuMicros }) => clientCpuMicros + serverCpuMicros],
  ["client CPU", "µs", ({ clientCpuMicros }) => clientCpuMicros],
  ["server CPU", "µs", ({ serverCpuMicros }) => serverCpuMicros],
];
const metricsOf: Readonly<Record<Workload["kind"], readonly Metric[]>> = {
  unary: [
    ["calls", "/s", ({ perSecond }) => perSecond],
    ["p50", "ms", ({ p50Ms }) => p50Ms],
    ["p99", "ms", ({ p99Ms }) => p99Ms],
    ...cpuMetrics,
  ],
  // How long a whole stream takes says nothing that its rate does not.
  stream: [["messages", "/s", ({ perSecond }) => perSecond], ...cpuMetrics],
};

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
  return [...found].flatMap(([{ subject }, measured]) =>
    metricsOf[workload.kind].map(([metric, unit, of]) => ({
      workload: name,
      subject,
      metric,
      unit,
      rounds: measured.map(of),
    })),
  );
}

/** Samples the allocations of one workload for each pair. */
export async function measureAllocations(
  name: string,
  workload: Workload,
  pairs: readonly Pair[],
  plan: Plan,
): Promise<Series[]> {
  const series: Series[] = [];
  for (const pair of pairs) {
    const { client, server } = await pair.allocations(workload, plan.allocationMs);
    const of = { workload: name, subject: pair.subject, unit: "B" };
    series.push({ ...of, metric: "client heap", rounds: [client] }, { ...of, metric: "server heap", rounds: [server] });
  }
  return series;
}
