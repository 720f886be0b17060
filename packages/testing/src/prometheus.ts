// A throwaway Prometheus.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { findServer, startProcess, waitUntil } from "@warren/local-stack";
import { environment } from "./config.ts";

const READY_MS = 30_000;
const STOP_MS = 10_000;

/** One series of an answer; its value may be `NaN`. */
export interface PrometheusSample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/** An alert that is pending or fires. */
export interface PrometheusAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: "pending" | "firing";
  /** Since when its expression holds. */
  readonly activeAt: string;
}

/** A rule as Prometheus sees it. */
export interface PrometheusRule {
  readonly name: string;
  readonly health: "ok" | "err" | "unknown";
  readonly lastError?: string;
}

/** A server that ends with its test. */
export interface TestPrometheus {
  readonly url: string;
  /** What an expression is now. @throws Error with Prometheus' own words when it cannot be evaluated. */
  query(expr: string): Promise<PrometheusSample[]>;
  /** Alerts that are pending or fire. */
  alerts(): Promise<PrometheusAlert[]>;
  rules(): Promise<PrometheusRule[]>;
}

/**
 * Starts Prometheus on a free port of this machine; it ends with the test.
 * @param configFile Its configuration.
 */
export async function startPrometheus(t: Pick<TestContext, "after">, configFile: string): Promise<TestPrometheus> {
  const dataDir = mkdtempSync(join(tmpdir(), "warren-prometheus-"));
  const lines: string[] = [];
  const server = await startProcess({
    command: findServer("prometheus"),
    args: [`--config.file=${configFile}`, `--storage.tsdb.path=${dataDir}`, "--web.listen-address=127.0.0.1:0"],
    cwd: dataDir,
    env: { PATH: environment()["PATH"] },
    onLine: (line) => lines.push(line),
  });
  let ended = false;
  void server.ended.then(() => (ended = true));
  t.after(async () => {
    await server.stop(STOP_MS);
    rmSync(dataDir, { recursive: true, force: true });
  });
  const url = await waitUntil("The start of Prometheus", READY_MS, async () => {
    if (ended) throw new Error(`Prometheus ended at once:\n${lines.slice(-5).join("\n")}`);
    const address = lines.map((line) => /"Listening on".* address=(\S+)/.exec(line)?.[1]).find(Boolean);
    return address !== undefined && (await fetch(`http://${address}/-/ready`)).ok ? `http://${address}` : undefined;
  });
  return {
    url,
    query: async (expr) => {
      const { result } = await ask<{ result: { metric: Record<string, string>; value: [number, string] }[] }>(
        url,
        `query?${new URLSearchParams({ query: expr }).toString()}`,
      );
      return result.map(({ metric, value: [, value] }) => ({ metric, value: Number(value) }));
    },
    alerts: async () => (await ask<{ alerts: PrometheusAlert[] }>(url, "alerts")).alerts,
    rules: async () =>
      (await ask<{ groups: { rules: PrometheusRule[] }[] }>(url, "rules")).groups.flatMap(({ rules }) => rules),
  };
}

/** Asks Prometheus' HTTP API. */
async function ask<T>(url: string, path: string): Promise<T> {
  const response = await fetch(`${url}/api/v1/${path}`);
  const { data, error, warnings } = (await response.json()) as { data?: T; error?: string; warnings?: string[] };
  if (data === undefined)
    throw new Error(`Prometheus refuses ${decodeURIComponent(path)}: ${error ?? response.status}`);
  if (warnings !== undefined)
    throw new Error(`Prometheus warns of ${decodeURIComponent(path)}: ${warnings.join("; ")}`);
  return data;
}
