// `gateway`: one route over HTTP, Warren's beside what a user might build in its place.
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startRedisServer } from "@warren/local-stack";
import { connectMesh, jsonCodec, type Mesh, parseCredentials } from "@warren/mesh";
import { machine } from "../machine.ts";
import { startBenchNats } from "../mesh/nats.ts";
import { cpuMicrosOf } from "../process-cpu.ts";
import { type Series, toRatios, toResults } from "../report.ts";
import { rotate } from "../statistics.ts";
import type { Suite } from "../suite.ts";
import { type Load, run, type Run } from "./load.ts";
import { type Target, TOKEN } from "./subject.ts";
import { NO_LIMITS, PLAIN, PROXY, subjects, WARREN, warrenSubjects } from "./subjects.ts";
import { Worker } from "./worker.ts";

const peers = Object.keys(subjects).filter((name) => !warrenSubjects.includes(name));
const BUSY: Load = { connections: 32 };
/** A machine that starts sixteen processes at once is slow. */
const START_MS = 60_000;
const STEADY: Load = { connections: 32, rate: 3000 };
const silent = { error: ignore, warn: ignore, info: ignore, debug: ignore };

interface Running {
  readonly name: string;
  readonly front: Worker;
  readonly back: Worker | undefined;
}

interface Round extends Run {
  readonly cpuMicros: number;
  readonly frontCpuMicros: number;
}

const metrics: readonly [name: string, unit: string, of: (round: Round) => number][] = [
  ["requests", "/s", ({ perSecond }) => perSecond],
  ["p50", "ms", ({ p50Ms }) => p50Ms],
  ["p99", "ms", ({ p99Ms }) => p99Ms],
  ["CPU", "µs", ({ cpuMicros }) => cpuMicros],
  ["front CPU", "µs", ({ frontCpuMicros }) => frontCpuMicros],
];

/** Measures everything. */
export const gatewaySuite: Suite = async ({ quick, profileFolder, progress, signal }) => {
  const plan = quick ? { rounds: 2, runMs: 1000, warmUp: 2000 } : { rounds: 5, runMs: 4000, warmUp: 30_000 };
  const on = machine();
  const dataDir = mkdtempSync(join(tmpdir(), "warren-bench-"));
  const meshes: Mesh[] = [];
  const running: Running[] = [];
  const series: Series[] = [];
  const [nats, redis] = await Promise.all([
    startBenchNats(warrenSubjects),
    startRedisServer({ dataDir, onLine: ignore }),
  ]);
  const others = (): number => (nats.cpuMicros() ?? Number.NaN) + (cpuMicrosOf(redis.process.pid) ?? Number.NaN);
  try {
    progress("Starting the subjects");
    const starts = await Promise.allSettled(
      Object.keys(subjects).map(async (name, i) => {
        const { natsUrl, peer, credentials } = nats.targetOf(name);
        if (warrenSubjects.includes(name)) meshes.push(...(await prepare(natsUrl, credentials)));
        const target = { natsUrl, peer, credentials, redisPath: redis.path, backUrl: undefined };
        running[i] = await start(name, target);
      }),
    );
    // All of them have settled: what did start is ended below.
    for (const each of starts) if (each.status === "rejected") throw each.reason;
    const measure = async (of: readonly Running[], workload: string, load: Load): Promise<void> => {
      progress(workload);
      const found = new Map<Running, Round[]>(of.map((each) => [each, []]));
      // By requests, not by time: a compiler that has seen too few has not done its work.
      for (const { front } of of) await run(front.address, { ...BUSY, amount: plan.warmUp }, plan.runMs);
      for (let round = 0; round < plan.rounds; round++)
        for (const each of rotate(of, round)) {
          signal.throwIfAborted();
          found.get(each)?.push(await once(each, load, plan.runMs, others));
        }
      for (const [{ name: subject }, rounds] of found)
        for (const [metric, unit, of] of metrics)
          series.push({ workload, subject, metric, unit, rounds: rounds.map(of) });
    };
    await measure(running, "32 connections, as fast as they go", BUSY);
    await measure(
      running.filter(({ name }) => [PLAIN, PROXY, WARREN, NO_LIMITS].includes(name)),
      "3,000 requests a second",
      STEADY,
    );
    if (profileFolder) {
      mkdirSync(profileFolder, { recursive: true });
      for (const { name, front } of running.filter(({ name }) => name === WARREN)) {
        await front.startProfile();
        await run(front.address, BUSY, plan.runMs);
        await front.stopProfile(join(profileFolder, `${name.toLowerCase()}-gateway.cpuprofile`));
      }
    }
  } finally {
    await Promise.all(
      running.filter(Boolean).flatMap(({ front, back }) => [front, ...(back ? [back] : [])].map((each) => each.stop())),
    );
    await Promise.allSettled(meshes.map((mesh) => mesh.close()));
    await Promise.all([nats.stop(), redis.process.stop(2000)]);
    rmSync(dataDir, { recursive: true, force: true });
  }
  const known = series.filter(({ rounds }) => !rounds.some(Number.isNaN));
  const ratios = [...toRatios(known, [WARREN], peers), ...toRatios(known, [WARREN], [NO_LIMITS])];
  return { suite: "gateway", machine: on, results: toResults(known), ratios };
};

/** What the other services of a mesh would have made: the state that a gateway reads, with the token in it. */
async function prepare(natsUrl: string, credentials: string): Promise<Mesh[]> {
  const join_ = (service: string): Promise<Mesh> => {
    const text = readFileSync(join(credentials, `${service}.json`), "utf8");
    return connectMesh({
      servers: [natsUrl],
      credentials: parseCredentials(text),
      log: silent,
      connectTimeoutMs: START_MS,
    });
  };
  const [auth, host] = await Promise.all([join_("auth"), join_("plugin-host")]);
  const tokens = await auth.kv("auth_credentials", jsonCodec<object>());
  const hash = createHash("sha256").update(TOKEN).digest("hex");
  const scopes = ["*"];
  await tokens.put("bench", { kind: "operator", hash, principal: "operator", tenant: "default", scopes, createdAt: 0 });
  await Promise.all([
    auth.kv("auth_keys", jsonCodec<object>()),
    auth.kv("auth_revocations", jsonCodec<object>()),
    auth.kv("auth_sessions", jsonCodec<object>()),
    host.kv("plugin_status", jsonCodec<object>()),
    host.objects("plugin_packages"),
  ]);
  return [auth, host];
}

async function start(name: string, target: Target): Promise<Running> {
  const subject = await subjects[name]?.();
  const back = subject?.back ? await Worker.start({ subject: name, role: "back", target }) : undefined;
  const backUrl = back?.address || undefined;
  try {
    return { name, back, front: await Worker.start({ subject: name, role: "front", target: { ...target, backUrl } }) };
  } catch (error) {
    await back?.stop();
    throw error;
  }
}

async function once({ front, back }: Running, load: Load, runMs: number, others: () => number): Promise<Round> {
  const used = (): [front: number, all: number] => {
    const own = front.cpuMicros;
    return [own, own + (back?.cpuMicros ?? 0) + others()];
  };
  const [frontBefore, allBefore] = used();
  const measured = await run(front.address, load, runMs);
  const [frontAfter, allAfter] = used();
  return {
    ...measured,
    frontCpuMicros: (frontAfter - frontBefore) / measured.requests,
    cpuMicros: (allAfter - allBefore) / measured.requests,
  };
}

function ignore(): void {}
