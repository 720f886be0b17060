// Which traces are recorded, decided where they begin: OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG.
import { ROOT_CONTEXT } from "@opentelemetry/api";
import { SamplingDecision, TraceIdRatioBasedSampler } from "@opentelemetry/sdk-trace";
import type { Environment } from "../config.ts";

/**
 * Whether a span is recorded.
 * @param parentSampled Whether its parent is; undefined where it has none.
 */
export type Sampler = (traceId: string, parentSampled: boolean | undefined) => boolean;

/**
 * The sampler that the standard variables name. Without a name: what the caller decided, and of the traces that begin here the
 * share in OTEL_TRACES_SAMPLER_ARG, all by default.
 * @throws Error when the variables hold what is no sampler.
 */
export function samplerOf(env: Environment): Sampler {
  const argument = env["OTEL_TRACES_SAMPLER_ARG"] ?? "";
  const name = env["OTEL_TRACES_SAMPLER"] || (argument === "" ? "parentbased_always_on" : "parentbased_traceidratio");
  const kind = name.replace(/^parentbased_/, "");
  const root = rootSampler(kind, argument);
  if (!root)
    throw new Error(
      `OTEL_TRACES_SAMPLER is ${name}; it may be always_on, always_off or traceidratio, with parentbased_ before it or without`,
    );
  return kind === name ? root : (traceId, parentSampled) => parentSampled ?? root(traceId);
}

function rootSampler(kind: string, argument: string): ((traceId: string) => boolean) | undefined {
  if (kind === "always_on") return () => true;
  if (kind === "always_off") return () => false;
  if (kind !== "traceidratio") return undefined;
  const ratio = argument === "" ? 1 : Number(argument);
  if (!(ratio >= 0 && ratio <= 1)) throw new Error(`OTEL_TRACES_SAMPLER_ARG is ${argument}; it must be from 0 to 1`);
  if (ratio === 0 || ratio === 1) return () => ratio === 1;
  const sampler = new TraceIdRatioBasedSampler(ratio);
  return (traceId) => sampler.shouldSample(ROOT_CONTEXT, traceId).decision === SamplingDecision.RECORD_AND_SAMPLED;
}
