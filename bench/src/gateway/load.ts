// Load over HTTP, by autocannon: closed loops on keep-alive connections, or a fixed rate.
import autocannon from "autocannon";
import { Histogram } from "../histogram.ts";
import { BODY, PATH, TOKEN } from "./subject.ts";

export interface Load {
  readonly connections: number;
  /** Ends after so many requests, however long that takes. */
  readonly amount?: number;
  /** Requests a second over all connections; absent: as many as are answered. */
  readonly rate?: number;
}

/** What a run gave. */
export interface Run {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * Runs a load.
 * @throws Error when an answer is not a success: a refused request is no figure.
 */
export function run(url: string, { connections, rate, amount }: Load, runMs: number): Promise<Run> {
  const latencies = new Histogram();
  // From the first answer to the last: what a load generator does before and after is no one's time.
  let first = 0;
  let last = 0;
  return new Promise((resolve, reject) => {
    const instance = autocannon(
      {
        url: url + PATH,
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${TOKEN}`, host: "localhost" },
        body: BODY,
        connections,
        ...(amount === undefined ? { duration: runMs / 1000 } : { amount }),
        ...(rate === undefined ? {} : { overallRate: rate, ignoreCoordinatedOmission: true }),
      },
      (error: Error | null, result: autocannon.Result) => {
        const seconds = (last - first) / 1000;
        if (error) return reject(error);
        const wrong = result.non2xx + result.errors + result.timeouts;
        if (wrong > 0)
          return reject(new Error(`${wrong} of ${latencies.count} requests to ${url} were not answered well`));
        const requests = latencies.count;
        return resolve({
          requests,
          perSecond: requests / seconds,
          p50Ms: latencies.quantile(0.5),
          p99Ms: latencies.quantile(0.99),
        });
      },
    );
    // Its own histogram holds whole milliseconds.
    instance.on("response", (_client, _status, _bytes, milliseconds) => {
      last = performance.now();
      first ||= last;
      latencies.record(milliseconds);
    });
  });
}
