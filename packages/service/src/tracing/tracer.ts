// Makes spans for @opentelemetry/api: recorded ones, and for traces that are not sampled ones that carry their ids alone.
import {
  type Context,
  context,
  INVALID_SPANID,
  INVALID_TRACEID,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  trace,
  TraceFlags,
  type Tracer,
  type TracerProvider,
} from "@opentelemetry/api";
import type { IdGenerator } from "./ids.ts";
import { RecordedSpan, type SpanOrigin } from "./recorded-span.ts";
import type { Sampler } from "./sampling.ts";

export interface TracerOptions extends Omit<SpanOrigin, "scope"> {
  readonly sampler: Sampler;
  readonly ids: IdGenerator;
}

/** One tracer for each name that asks. */
export class LightTracerProvider implements TracerProvider {
  readonly #options: TracerOptions;
  readonly #tracers = new Map<string, Tracer>();

  constructor(options: TracerOptions) {
    this.#options = options;
  }

  getTracer(name: string, version?: string): Tracer {
    const key = `${name}@${version ?? ""}`;
    let tracer = this.#tracers.get(key);
    if (!tracer)
      this.#tracers.set(key, (tracer = new LightTracer({ name, ...(version && { version }) }, this.#options)));
    return tracer;
  }
}

/** Whether a span is one. What its ids are made of was checked where they were read. */
function isReal({ traceId, spanId }: SpanContext): boolean {
  return traceId.length === 32 && spanId.length === 16 && traceId !== INVALID_TRACEID && spanId !== INVALID_SPANID;
}

class LightTracer implements Tracer {
  readonly #origin: SpanOrigin;
  readonly #sampler: Sampler;
  readonly #ids: IdGenerator;

  constructor(scope: SpanOrigin["scope"], { resource, onEnd, sampler, ids }: TracerOptions) {
    this.#origin = { resource, onEnd, scope };
    this.#sampler = sampler;
    this.#ids = ids;
  }

  startSpan(name: string, options: SpanOptions = {}, within: Context = context.active()): Span {
    const around = options.root ? undefined : trace.getSpanContext(within);
    const parent = around && isReal(around) ? around : undefined;
    const traceId = parent?.traceId ?? this.#ids.traceId();
    const spanId = this.#ids.spanId();
    const parentSampled = parent && (parent.traceFlags & TraceFlags.SAMPLED) !== 0;
    if (!this.#sampler(traceId, parentSampled))
      return trace.wrapSpanContext({ traceId, spanId, traceFlags: TraceFlags.NONE });
    const { kind = SpanKind.INTERNAL, startTime, attributes, links } = options;
    return new RecordedSpan(this.#origin, { name, kind, traceId, spanId, parent, startTime, attributes, links });
  }

  startActiveSpan<F extends (span: Span) => ReturnType<F>>(name: string, ...rest: [...unknown[], F]): ReturnType<F> {
    const run = rest.at(-1) as F;
    const [options, around] = rest.slice(0, -1) as [SpanOptions?, Context?];
    const parent = around ?? context.active();
    const span = this.startSpan(name, options, parent);
    return context.with(trace.setSpan(parent, span), run, undefined, span);
  }
}
