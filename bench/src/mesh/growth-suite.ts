// `mesh-growth`: how Warren's cost grows with server processes, endpoints and calls in flight.
import { machine } from "../machine.ts";
import { type Series, toRatios, toResults } from "../report.ts";
import type { Suite } from "../suite.ts";
import type { UnaryWorkload } from "./load.ts";
import { startBenchNats } from "./nats.ts";
import { Pair } from "./pair.ts";
import { FULL, measureInTurns, type Plan, QUICK } from "./rounds.ts";
import { keyedSubject, NATS, WARREN } from "./subjects.ts";

const SERVERS = [1, 2, 4];
const ENDPOINTS = [1, 100, 1000];
const ECHO: UnaryWorkload = { kind: "unary", bytes: 200, callers: 64 };
/** A keyed call's text stands in a field of at most 128 characters. */
const KEYED_ECHO: UnaryWorkload = { kind: "unary", bytes: 100, callers: 64 };
const IN_FLIGHT = 10_000;
/** What a server runs at once is 512 calls of a method: with these, every call is held and none waits for its turn. */
const HELD = 1600;
const HOLDERS = 4;
const HOLD_MS = 1500;

/** Measures everything. */
export const meshGrowthSuite: Suite = async ({ quick, progress, signal }) => {
  const plan: Plan = quick ? QUICK : FULL;
  const on = machine();
  const nats = await startBenchNats([WARREN]);
  const setting = { plan, nats, signal };
  const running = new Set<Pair>();
  const started = async (subject: string, servers = 1): Promise<Pair> => {
    const pair = await Pair.start(subject, nats.targetOf(subject), servers);
    running.add(pair);
    return pair;
  };
  const stopped = async (pairs: readonly Pair[]): Promise<void> => {
    await Promise.all(pairs.map((pair) => pair.stop()));
    for (const pair of pairs) running.delete(pair);
  };
  const series: Series[] = [];
  try {
    for (const servers of SERVERS) {
      // One after the other: replicas of one service share its calls.
      progress(`${servers} server processes`);
      const pair = await started(WARREN, servers);
      series.push(...(await measureInTurns(`unary 200 B × 64, ${servers} servers`, ECHO, [pair], setting)));
      await stopped([pair]);
    }
    for (const endpoints of ENDPOINTS) {
      progress(`${endpoints} endpoints`);
      const pair = await started(keyedSubject(endpoints));
      series.push(...(await measureInTurns(`keyed 100 B × 64`, KEYED_ECHO, [pair], setting)));
      await stopped([pair]);
    }
    progress(`${IN_FLIGHT} calls in flight`);
    const pairs = [await started(WARREN), await started(NATS)];
    const crowd = { ...ECHO, callers: IN_FLIGHT };
    series.push(...(await measureInTurns(`unary 200 B × 10,000`, crowd, pairs, setting)));
    await stopped(pairs);
    for (const subject of [WARREN, NATS]) {
      progress(`Memory of a pending call, ${subject}`);
      const pair = await started(subject, HOLDERS);
      const rounds: number[] = [];
      // The first round fills what is filled once: buffers, compiled code.
      for (let round = 0; round <= plan.rounds; round++) rounds.push(await pair.holdCalls(HELD, HOLD_MS));
      const of = { workload: `a pending call, of ${HELD}`, subject, metric: "client memory", unit: "B" };
      series.push({ ...of, rounds: rounds.slice(1) });
      await stopped([pair]);
    }
  } finally {
    await stopped([...running]);
    await nats.stop();
  }
  return { suite: "mesh-growth", machine: on, results: toResults(series), ratios: toRatios(series, [WARREN]) };
};
