// Series that are there before anything is counted: what Prometheus first sees at 1 it has not seen grow, so that an alert
// would miss the first event.
import { type Counter, Histogram } from "prom-client";

/**
 * Shows a metric at 0 for every combination of these values. A counter keeps what it has counted; a histogram forgets what
 * it has observed, and is given here when it is made.
 * @example
 * startAtZero(reloads, { outcome: ["changed", "refused"] });
 */
export function startAtZero<Label extends string>(
  metric: Counter<Label> | Histogram<Label>,
  values: Readonly<Record<Label, readonly string[]>>,
): void {
  for (const labels of combinations(values))
    if (metric instanceof Histogram) metric.zero(labels);
    else metric.inc(labels, 0);
}

function combinations<Label extends string>(
  values: Readonly<Record<Label, readonly string[]>>,
): Record<Label, string>[] {
  let found = [{} as Record<Label, string>];
  for (const [label, choices] of Object.entries<readonly string[]>(values))
    found = found.flatMap((labels) => choices.map((value) => ({ ...labels, [label]: value })));
  return found;
}
