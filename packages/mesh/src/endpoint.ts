// One method that this process serves: how its messages are read and written, who runs it, how it has fared.
import type { MethodContract } from "@warren/contract";
import type { Admission } from "./admission.ts";
import type { CallContext } from "./call-context.ts";

/** What serves a method, on bytes. */
export interface Endpoint {
  readonly method: MethodContract;
  /** Reads a request. */
  readonly decode: (bytes: Uint8Array) => object;
  /** Runs the handler; the answers as bytes, one for a unary method. */
  readonly run: (request: object, ctx: CallContext) => Promise<Uint8Array> | AsyncIterable<Uint8Array>;
  readonly admission: Admission;
  readonly stats: EndpointStats;
}

const SAMPLES = 512;

/** Counts and times of one method, as ADR-32 reports them. */
export class EndpointStats {
  readonly #samples = new Float64Array(SAMPLES);
  requests = 0;
  errors = 0;
  lastError = "";
  processingMs = 0;

  /** Counts a call that took `ms` and ended with an error or none. */
  record(ms: number, error?: string): void {
    this.#samples[this.requests % SAMPLES] = ms;
    this.requests += 1;
    this.processingMs += ms;
    if (error === undefined) return;
    this.errors += 1;
    this.lastError = error;
  }

  /** The time below which `share` (0 to 1) of the last calls stayed, in milliseconds. */
  quantileMs(share: number): number {
    const known = this.#samples.slice(0, Math.min(this.requests, SAMPLES)).sort();
    return known[Math.min(known.length - 1, Math.floor(known.length * share))] ?? 0;
  }
}
