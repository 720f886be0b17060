// `telemetry`: what traces and metrics cost a whole mesh, from the gateway to the sandboxed plugin.
import { type Target, openTarget } from "@warren/loadtest/target";
import { startStack } from "@warren/testing";
import { Histogram } from "../histogram.ts";
import { machine } from "../machine.ts";
import { type Series, toRatios, toResults } from "../report.ts";
import { rotate } from "../statistics.ts";
import type { Suite } from "../suite.ts";
import { cpuSecondsOf } from "./process-cpu.ts";

const OFF = "telemetry off";
const SUBJECTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  [OFF]: { OTEL_SDK_DISABLED: "true" },
  "1 % of traces": { OTEL_TRACES_SAMPLER_ARG: "0.01" },
  "all traces": {},
};
const WORKLOADS: Readonly<Record<string, { path: string; body: object }>> = {
  "tool call": { path: "/v1/plugins/clock/tools/get_current_time:call", body: { arguments: {} } },
  chat: { path: "/v1/chat", body: { message: "Hello!" } },
};
const CALLERS = 16;
const FULL = { rounds: 7, roundMs: 3000, warmUpMs: 4000 };
const QUICK = { rounds: 3, roundMs: 1000, warmUpMs: 1000 };
const METRICS = { rate: "/s", p50: "ms", cpu: "µs" } as const;

interface Subject {
  readonly name: string;
  readonly target: Target;
  /** Processor time that its services have used so far, in seconds. */
  readonly cpuSeconds: () => number;
}

interface Measured {
  readonly rate: number;
  readonly p50: number;
  readonly cpu: number;
}

/** Measures every workload on a mesh for each subject, in turns. */
export const telemetrySuite: Suite = async ({ quick, progress, signal }) => {
  const plan = quick ? QUICK : FULL;
  const on = machine();
  const ends: (() => unknown)[] = [];
  try {
    const subjects: Subject[] = [];
    for (const [name, env] of Object.entries(SUBJECTS)) {
      progress(`starting a mesh: ${name}`);
      const stack = await startStack({ after: (end) => void ends.push(end as () => unknown) }, { env });
      const target = openTarget(stack.url, stack.token);
      ends.push(() => target.close());
      const services = Object.entries(stack.pids()).filter(([process]) => !["nats", "redis"].includes(process));
      const cpuSeconds = (): number => services.reduce((sum, [, pid]) => sum + cpuSecondsOf(pid), 0);
      subjects.push({ name, target, cpuSeconds });
    }
    const series: Series[] = [];
    for (const [workload, { path, body }] of Object.entries(WORKLOADS)) {
      const rounds = new Map(subjects.map((subject) => [subject, [] as Measured[]]));
      for (const subject of subjects) await measure(subject, path, body, plan.warmUpMs);
      for (let round = 0; round < plan.rounds; round++) {
        progress(`${workload}: round ${round + 1} of ${plan.rounds}`);
        for (const subject of rotate(subjects, round)) {
          signal.throwIfAborted();
          rounds.get(subject)?.push(await measure(subject, path, body, plan.roundMs));
        }
      }
      for (const [{ name }, measured] of rounds)
        for (const [metric, unit] of Object.entries(METRICS))
          series.push({
            workload,
            subject: name,
            metric: { rate: "calls", p50: "p50", cpu: "services' CPU" }[metric] ?? metric,
            unit,
            rounds: measured.map((each) => each[metric as keyof Measured]),
          });
    }
    const ours = Object.keys(SUBJECTS).filter((name) => name !== OFF);
    return { suite: "telemetry", machine: on, results: toResults(series), ratios: toRatios(series, ours) };
  } finally {
    for (const end of ends.toReversed()) await end();
  }
};

/** A closed loop of callers for so long. @throws Error when an answer is none: a failure is no figure. */
async function measure(subject: Subject, path: string, body: object, ms: number): Promise<Measured> {
  const latencies = new Histogram();
  const { target } = subject;
  const cpuBefore = subject.cpuSeconds();
  const begun = performance.now();
  const caller = async (): Promise<void> => {
    for (let before = performance.now(); before < begun + ms;) {
      const { status, text } = await target.request("POST", path, { body });
      if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
      const after = performance.now();
      latencies.record(after - before);
      before = after;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  const seconds = (performance.now() - begun) / 1000;
  return {
    rate: latencies.count / seconds,
    p50: latencies.quantile(0.5),
    cpu: ((subject.cpuSeconds() - cpuBefore) * 1e6) / latencies.count,
  };
}
