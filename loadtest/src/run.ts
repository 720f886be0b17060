// Runs one scenario under one profile, and judges it.
import { type Arrived, runArrivals } from "./arrivals.ts";
import type { Profile } from "./profiles.ts";
import { Recorder } from "./recorder.ts";
import type { Environment, Prepared, Scenario, Verdict } from "./scenario.ts";
import type { TrendFigures } from "./trend.ts";

/** How a scenario went. */
export interface Outcome {
  readonly scenario: string;
  readonly profile: string;
  /** Why it was not run. */
  readonly skipped?: string;
  readonly passed: boolean;
  readonly seconds: number;
  /** Iterations that were begun, a second. */
  readonly rate: number;
  readonly iterations: number;
  readonly failed: number;
  readonly dropped: number;
  /** How late the generator itself was at worst, in milliseconds. */
  readonly generatorLagMs: number;
  readonly trends: Readonly<Record<string, TrendFigures>>;
  readonly counts: Readonly<Record<string, number>>;
  readonly reasons: Readonly<Record<string, number>>;
  readonly verdicts: readonly Verdict[];
}

const MAX_IN_FLIGHT = 512;

/** Runs a scenario. */
export async function run(scenario: Scenario, given: Omit<Environment, "recorder">): Promise<Outcome> {
  const recorder = new Recorder();
  const environment: Environment = { ...given, recorder };
  const { profile, signal } = environment;
  const skipped = await scenario.unavailable?.(environment);
  if (skipped !== undefined) return { ...outcome(scenario, profile, recorder, undefined, []), skipped, passed: true };
  const prepared = await scenario.prepare(environment);
  try {
    const stages = profile.stages(scenario.rate);
    const from = stages[0]?.rate ?? scenario.rate;
    const load = { from, maxInFlight: MAX_IN_FLIGHT, signal };
    const iterate = (index: number): Promise<void> => recorder.iterate(() => prepared.iterate(index));
    await runArrivals({ ...load, stages: [{ rate: from, seconds: profile.warmUpSeconds }], iterate });
    recorder.begin();
    const arrived = await beside(prepared, () => runArrivals({ ...load, stages, iterate }));
    signal.throwIfAborted();
    const verdicts = [...judge(scenario, profile, recorder, arrived), ...((await prepared.verdicts?.()) ?? [])];
    return outcome(scenario, profile, recorder, arrived, verdicts);
  } finally {
    await prepared.close?.();
  }
}

async function beside(prepared: Prepared, load: () => Promise<Arrived>): Promise<Arrived> {
  const done = new AbortController();
  const meanwhile = prepared.meanwhile?.(done.signal);
  // Its failure is met below, when the load has ended.
  meanwhile?.catch(() => undefined);
  try {
    return await load();
  } finally {
    done.abort();
    await meanwhile;
  }
}

function judge(scenario: Scenario, { objectives }: Profile, recorder: Recorder, arrived: Arrived): Verdict[] {
  const p99 = recorder.trends[scenario.trend]?.p99 ?? Number.POSITIVE_INFINITY;
  const mostMs = objectives.p99Ms * (scenario.times ?? 1);
  const errors = recorder.iterations === 0 ? 1 : recorder.failed / recorder.iterations;
  const dropped = arrived.dropped / Math.max(1, arrived.started + arrived.dropped);
  return [
    verdict(`p99 of ${scenario.trend} < ${mostMs} ms`, `${p99.toFixed(1)} ms`, p99 < mostMs),
    verdict(`errors ≤ ${share(objectives.errors)}`, share(errors), errors <= objectives.errors),
    verdict(`dropped ≤ ${share(objectives.dropped)}`, share(dropped), dropped <= objectives.dropped),
  ];
}

/** A verdict in words. */
export function verdict(objective: string, found: string, held: boolean): Verdict {
  return { objective, found, held };
}

function share(value: number): string {
  return `${Number((value * 100).toFixed(3))} %`;
}

function outcome(
  { name }: Scenario,
  profile: Profile,
  recorder: Recorder,
  arrived: Arrived | undefined,
  verdicts: readonly Verdict[],
): Outcome {
  const { iterations, failed, trends, counts, reasons } = recorder;
  const seconds = arrived?.seconds ?? 0;
  return {
    scenario: name,
    profile: profile.name,
    passed: verdicts.every(({ held }) => held),
    seconds,
    rate: seconds > 0 ? iterations / seconds : 0,
    iterations,
    failed,
    dropped: arrived?.dropped ?? 0,
    generatorLagMs: arrived?.latestMs ?? 0,
    trends,
    counts,
    reasons,
    verdicts,
  };
}
