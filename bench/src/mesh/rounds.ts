// Rounds: every subject in turn, again and again, so that whatever else the machine does falls on all of them.
import type { Series } from "../report.ts";
import { rotate } from "../statistics.ts";
import type { Workload } from "./load.ts";
import type { BenchNats } from "./nats.ts";
import type { Measurement, Pair } from "./pair.ts";
import { directSubjects } from "./subjects.ts";

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

/** What one run gave, and what the nats-server used for it, in microseconds an operation: NaN where nobody tells. */
interface Round extends Measurement {
  readonly natsCpuMicros: number;
}

const NATS_CPU = "nats-server CPU";

type Metric = readonly [name: string, unit: string, of: (round: Round) => number];

const cpuMetrics: readonly Metric[] = [
  ["CPU", "µs", ({ clientCpuMicros, serverCpuMicros }) => clientCpuMicros + serverCpuMicros],
  ["client CPU", "µs", ({ clientCpuMicros }) => clientCpuMicros],
  ["server CPU", "µs", ({ serverCpuMicros }) => serverCpuMicros],
  [NATS_CPU, "µs", ({ natsCpuMicros }) => natsCpuMicros],
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

/** Where and how a suite measures. */
export interface Setting {
  readonly plan: Plan;
  readonly nats: Pick<BenchNats, "cpuMicros">;
  readonly signal: AbortSignal;
}

/** Measures one workload for each pair, in turns. */
export async function measureInTurns(
  name: string,
  workload: Workload,
  pairs: readonly Pair[],
  { plan, nats, signal }: Setting,
): Promise<Series[]> {
  const found = new Map<Pair, Round[]>(pairs.map((pair) => [pair, []]));
  for (const pair of pairs) await pair.measure(workload, plan.warmUpMs);
  for (let round = 0; round < plan.rounds; round++)
    for (const pair of rotate(pairs, round)) {
      signal.throwIfAborted();
      const before = nats.cpuMicros() ?? Number.NaN;
      const measured = await pair.measure(workload, plan.runMs);
      const natsCpuMicros = ((nats.cpuMicros() ?? Number.NaN) - before) / measured.operations;
      found.get(pair)?.push({ ...measured, natsCpuMicros });
    }
  const series = [...found].flatMap(([{ subject }, rounds]) =>
    metricsOf[workload.kind].map(([metric, unit, of]) => ({
      workload: name,
      subject,
      metric,
      unit,
      rounds: rounds.map(of),
    })),
  );
  return series.filter(
    ({ subject, metric, rounds }) =>
      !rounds.some(Number.isNaN) && !(metric === NATS_CPU && directSubjects.includes(subject)),
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
