// Pushes a registry's metrics to a collector by OTLP, where the standard OTEL_* variables name one. The registry stays the
// one place where things are counted; this reads it as Prometheus does.
import { type Attributes, type HrTime, ValueType } from "@opentelemetry/api";
import { convertLegacyHttpOptions, createOtlpHttpExportDelegate } from "@opentelemetry/otlp-exporter-base/node-http";
import { MetricsExporterMetricsHelper, ProtobufMetricsSerializer } from "@opentelemetry/otlp-transformer";
import type { Resource } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  DataPointType,
  type MetricData,
  type MetricDescriptor,
  type ResourceMetrics,
} from "@opentelemetry/sdk-metrics";
import type { MetricObjectWithValues, MetricValue, Registry } from "prom-client";

/** A push that goes on until it is stopped. */
export interface MetricsPush {
  /** Sends what is known now, and no more after it. */
  stop(): Promise<void>;
}

/** What a histogram's samples say: their name beside the metric's own. */
type Sample = MetricValue<string> & { readonly metricName?: string };
type Collected = MetricObjectWithValues<Sample>;

/** Pushes every `intervalMs`. A collector that is away is the exporter's business: it tries again and gives up. */
export function pushMetrics(registry: Registry, resource: Resource, intervalMs: number): MetricsPush {
  const delegate = createOtlpHttpExportDelegate(
    convertLegacyHttpOptions({}, "METRICS", "v1/metrics", { "Content-Type": "application/x-protobuf" }),
    ProtobufMetricsSerializer,
    "otlp_http_metric_exporter",
    MetricsExporterMetricsHelper,
    undefined,
  );
  const startTime = hrTime();
  const push = async (): Promise<void> => {
    const metrics = await collect(registry, resource, startTime);
    await new Promise<void>((resolve) => delegate.export(metrics, () => resolve()));
  };
  const timer = setInterval(() => void push().catch(() => undefined), intervalMs).unref();
  return {
    stop: async () => {
      clearInterval(timer);
      await push().catch(() => undefined);
      await delegate.shutdown();
    },
  };
}

/** A registry's metrics in OTLP's terms; its counters count since `startTime`. */
export async function collect(registry: Registry, resource: Resource, startTime: HrTime): Promise<ResourceMetrics> {
  const found = (await registry.getMetricsAsJSON()) as unknown as Collected[];
  const times = { startTime, endTime: hrTime() };
  const metrics = found.flatMap((metric) => convert(metric, times) ?? []);
  return { resource, scopeMetrics: [{ scope: { name: "@warren/service" }, metrics }] };
}

interface Times {
  readonly startTime: HrTime;
  readonly endTime: HrTime;
}

function convert({ name, help, type, values }: Collected, times: Times): MetricData | undefined {
  const descriptor: MetricDescriptor = { name, description: help, unit: unitOf(name), valueType: ValueType.DOUBLE };
  const base = { descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE };
  const points = () => values.map(({ labels, value }) => ({ ...times, attributes: attributes(labels), value }));
  // prom-client names types by words in its JSON; its own typings have them as numbers.
  switch (String(type)) {
    case "counter":
      return { ...base, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints: points() };
    case "gauge":
      return { ...base, dataPointType: DataPointType.GAUGE, dataPoints: points() };
    case "histogram":
      return { ...base, dataPointType: DataPointType.HISTOGRAM, dataPoints: histograms(name, values, times) };
    default:
      return undefined;
  }
}

type HistogramPoints = Extract<MetricData, { dataPointType: DataPointType.HISTOGRAM }>["dataPoints"];

/** Prometheus' samples of one histogram, `le` cumulative, as one point for each set of labels. */
function histograms(name: string, values: readonly Sample[], times: Times): HistogramPoints {
  const series = new Map<
    string,
    { labels: Attributes; bounds: number[]; counts: number[]; sum: number; count: number }
  >();
  for (const { labels, value, metricName } of values) {
    const { le, ...own } = attributes(labels);
    const key = JSON.stringify(own);
    let one = series.get(key);
    if (!one) series.set(key, (one = { labels: own, bounds: [], counts: [], sum: 0, count: 0 }));
    if (metricName === `${name}_sum`) one.sum = value;
    else if (metricName === `${name}_count`) one.count = value;
    else if (le !== undefined && le !== "+Inf") {
      one.bounds.push(Number(le));
      one.counts.push(value);
    }
  }
  return [...series.values()].map(({ labels, bounds, counts, sum, count }) => ({
    ...times,
    attributes: labels,
    value: {
      buckets: {
        boundaries: bounds,
        counts: [...counts.map((value, i) => value - (counts[i - 1] ?? 0)), count - (counts.at(-1) ?? 0)],
      },
      sum,
      count,
    },
  }));
}

function attributes(labels: Sample["labels"]): Attributes {
  return Object.fromEntries(
    Object.entries(labels).filter((entry): entry is [string, string | number] => entry[1] !== undefined),
  );
}

function unitOf(name: string): string {
  if (/_seconds(_total)?$/.test(name)) return "s";
  return /_bytes(_total)?$/.test(name) ? "By" : "";
}

function hrTime(): HrTime {
  const now = Date.now();
  return [Math.floor(now / 1000), (now % 1000) * 1e6];
}
