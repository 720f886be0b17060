// `limiter`: decisions of one process over one Redis, with 1, 3 and 5 limits, spread over callers and on one hot key.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startRedisServer } from "@warren/local-stack";
import { Redis } from "ioredis";
import { Histogram } from "../histogram.ts";
import { machine } from "../machine.ts";
import { cpuMicrosOf } from "../process-cpu.ts";
import { type Series, toRatios, toResults } from "../report.ts";
import { rotate } from "../statistics.ts";
import type { Suite } from "../suite.ts";
import { fastifyRateLimit, rateLimiterFlexible } from "./peers.ts";
import { CALLERS, type LimiterSubject, type MakeSubject, type Shape } from "./subject.ts";
import { warren } from "./warren.ts";

const WARREN = "Warren";
const WARREN_LEASED = "Warren, leased";
const subjects: Readonly<Record<string, MakeSubject>> = {
  [WARREN]: warren(false),
  [WARREN_LEASED]: warren(true),
  "rate-limiter-flexible 11": rateLimiterFlexible,
  "@fastify/rate-limit 11": fastifyRateLimit,
};

/** Requests that are being decided at once. */
const IN_FLIGHT = 64;
const shapes: readonly (Shape & { readonly name: string })[] = [
  ...([1, 3, 5] as const).map((limits) => ({ limits, hot: false, name: `${limits} limits, ${CALLERS} callers` })),
  ...([1, 3] as const).map((limits) => ({ limits, hot: true, name: `${limits} limits, one hot key` })),
];

interface Round {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of this process, and of Redis, for a decision. */
  readonly cpuMicros: number;
  readonly redisCpuMicros: number;
  readonly callsPerThousand: number;
}

const metrics: readonly [name: string, unit: string, of: (round: Round) => number][] = [
  ["decisions", "/s", ({ perSecond }) => perSecond],
  ["p50", "ms", ({ p50Ms }) => p50Ms],
  ["p99", "ms", ({ p99Ms }) => p99Ms],
  ["CPU", "µs", ({ cpuMicros }) => cpuMicros],
  ["Redis CPU", "µs", ({ redisCpuMicros }) => redisCpuMicros],
  ["Redis calls per 1,000", "", ({ callsPerThousand }) => callsPerThousand],
];

/** Measures everything. */
export const limiterSuite: Suite = async ({ quick, progress, signal }) => {
  const plan = quick ? { rounds: 3, runMs: 400, warmUpMs: 200 } : { rounds: 5, runMs: 2000, warmUpMs: 1000 };
  const on = machine();
  const dataDir = mkdtempSync(join(tmpdir(), "warren-bench-"));
  const server = await startRedisServer({ dataDir, onLine: () => undefined });
  const admin = new Redis({ path: server.path });
  const series: Series[] = [];
  let open: [name: string, subject: LimiterSubject][] = [];
  try {
    for (const shape of shapes) {
      progress(shape.name);
      const made: [name: string, subject: LimiterSubject][] = [];
      open = made;
      // A counter that each caller has to itself is never worth a lease.
      const taking = Object.entries(subjects).filter(([name]) => shape.hot || name !== WARREN_LEASED);
      for (const [name, make] of taking) made.push([name, await make(server.path, shape)]);
      const found = new Map<string, Round[]>(made.map(([name]) => [name, []]));
      for (const [, subject] of made) await run(subject, plan.warmUpMs);
      for (let round = 0; round < plan.rounds; round++)
        for (const [name, subject] of rotate(made, round)) {
          signal.throwIfAborted();
          found.get(name)?.push(await measure(subject, plan.runMs, admin, server.process.pid));
        }
      for (const [subject, rounds] of found)
        for (const [metric, unit, of] of metrics)
          series.push({ workload: shape.name, subject, metric, unit, rounds: rounds.map(of) });
      for (const [, subject] of made.splice(0)) await subject.close();
      await admin.flushall();
    }
  } finally {
    for (const [, subject] of open) await subject.close();
    admin.disconnect();
    await server.process.stop(2000);
    rmSync(dataDir, { recursive: true, force: true });
  }
  const known = series.filter(({ rounds }) => !rounds.some(Number.isNaN));
  return { suite: "limiter", machine: on, results: toResults(known), ratios: toRatios(known, [WARREN, WARREN_LEASED]) };
};

async function measure(subject: LimiterSubject, runMs: number, admin: Redis, pid: number): Promise<Round> {
  const callsBefore = await calls(admin);
  const redisBefore = cpuMicrosOf(pid) ?? Number.NaN;
  const before = process.cpuUsage();
  const { decisions, seconds, latencies } = await run(subject, runMs);
  const { user, system } = process.cpuUsage(before);
  const redisAfter = cpuMicrosOf(pid) ?? Number.NaN;
  return {
    perSecond: decisions / seconds,
    p50Ms: latencies.quantile(0.5),
    p99Ms: latencies.quantile(0.99),
    cpuMicros: (user + system) / decisions,
    redisCpuMicros: (redisAfter - redisBefore) / decisions,
    callsPerThousand: (((await calls(admin)) - callsBefore) * 1000) / decisions,
  };
}

/** Closed loops: each makes its next request when its last was decided. One that is decided at once lets the others go on. */
async function run(
  subject: LimiterSubject,
  runMs: number,
): Promise<{ decisions: number; seconds: number; latencies: Histogram }> {
  const latencies = new Histogram();
  const started = performance.now();
  const until = started + runMs;
  let decisions = 0;
  const loop = async (index: number): Promise<void> => {
    for (let caller = index, before = performance.now(); before < until; caller += IN_FLIGHT) {
      const decided = subject.decide(caller % CALLERS);
      const at = decided instanceof Promise ? await decided : decided;
      if (!at) throw new Error("A request was denied: no quota is to be used up");
      decisions += 1;
      const after = performance.now();
      latencies.record(after - before);
      // Local decisions take turns with the network, as requests do.
      if (!(decided instanceof Promise) && decisions % 256 === 0) await new Promise((resolve) => setImmediate(resolve));
      before = performance.now();
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, (_, index) => loop(index)));
  return { decisions, seconds: (performance.now() - started) / 1000, latencies };
}

/** Commands that clients have sent, those that scripts ran not among them. */
async function calls(admin: Redis): Promise<number> {
  const stats = await admin.info("commandstats");
  const counted = [...stats.matchAll(/cmdstat_(fcall|evalsha|eval|rlflxincr|rateLimit):calls=(\d+)/gi)];
  return counted.reduce((sum, [, , count]) => sum + Number(count), 0);
}
