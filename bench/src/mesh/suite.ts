// `mesh`: unary echo and streams, Warren beside the frameworks that a user might take in its place.
import { mkdirSync } from "node:fs";
import { machine } from "../machine.ts";
import { type Series, toRatios, toResults } from "../report.ts";
import type { Suite } from "../suite.ts";
import type { StreamWorkload, UnaryWorkload } from "./load.ts";
import { startBenchNats } from "./nats.ts";
import { Pair } from "./pair.ts";
import { FULL, measureAllocations, measureInTurns, QUICK } from "./rounds.ts";
import { streamingSubjects, unarySubjects, WARREN, WARREN_UNSAMPLED } from "./subjects.ts";

const SIZES = [
  [200, "200 B"],
  [16_384, "16 KiB"],
] as const;
const CALLERS = [1, 64, 256];
const PROFILED: UnaryWorkload = { kind: "unary", bytes: 200, callers: 64 };
const STREAMS: readonly StreamWorkload[] = [1, 16].map((callers) => ({ kind: "stream", messages: 5000, callers }));

/** Measures everything. */
export const meshSuite: Suite = async ({ quick, profileFolder, progress, signal }) => {
  const plan = quick ? QUICK : FULL;
  const on = machine();
  const nats = await startBenchNats([WARREN, WARREN_UNSAMPLED]);
  const setting = { plan, nats, signal };
  const pairs: Pair[] = [];
  const only = (names: readonly string[]): Pair[] => pairs.filter(({ subject }) => names.includes(subject));
  const series: Series[] = [];
  try {
    progress("Starting the subjects");
    await Promise.all(
      unarySubjects.map(async (subject, i) => {
        pairs[i] = await Pair.start(subject, nats.targetOf(subject));
      }),
    );
    for (const [bytes, size] of SIZES)
      for (const callers of CALLERS) {
        const name = `unary ${size} × ${callers}`;
        progress(name);
        series.push(...(await measureInTurns(name, { kind: "unary", bytes, callers }, pairs, setting)));
      }
    for (const workload of STREAMS) {
      const name = `stream 128 B × ${workload.callers}`;
      progress(name);
      series.push(...(await measureInTurns(name, workload, only(streamingSubjects), setting)));
    }
    progress("Allocations");
    series.push(...(await measureAllocations("unary 200 B × 64, allocation per call", PROFILED, pairs, plan)));
    const [, streams = PROFILED] = STREAMS;
    const name = "stream 128 B × 16, allocation per message";
    series.push(...(await measureAllocations(name, streams, only(streamingSubjects), plan)));
    if (profileFolder) {
      mkdirSync(profileFolder, { recursive: true });
      const [warren] = only([WARREN]);
      await warren?.profile(PROFILED, plan.runMs, profileFolder, "warren-unary");
      await warren?.profile(streams, plan.runMs, profileFolder, "warren-stream");
    }
  } finally {
    await Promise.all(pairs.map((pair) => pair.stop()));
    await nats.stop();
  }
  const ratios = toRatios(series, [WARREN, WARREN_UNSAMPLED]);
  return { suite: "mesh", machine: on, results: toResults(series), ratios };
};
