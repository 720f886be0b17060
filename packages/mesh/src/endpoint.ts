// One method that this process serves: how its messages are read and written, who runs it, how it has fared.
import { type MethodContract, violations } from "@warren/contract";
import { Admission } from "./admission.ts";
import type { CallContext } from "./call-context.ts";
import type { MessageType } from "./definition.ts";
import type { MessageWriter } from "./message-writer.ts";
import { RpcError, StatusCode } from "./status.ts";
import { type CallSpans, callSpans } from "./telemetry.ts";
import type { TimerWheel } from "./timer-wheel.ts";

/** What serves a method, on bytes. */
export interface Endpoint {
  readonly method: MethodContract;
  readonly spans: CallSpans;
  /** Reads a request. */
  readonly decode: (bytes: Uint8Array) => object;
  /** Runs the handler. */
  readonly handle: Handler;
  /** An answer as bytes. */
  readonly encode: (answer: object) => Uint8Array;
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

/** A handler whatever its messages are. */
export type Handler = (request: object, ctx: CallContext) => Promise<object> | AsyncIterable<object>;

/** Makes the endpoint of a method out of the handler that was written for it. */
export function createEndpoint(
  method: MethodContract,
  types: { requestType: unknown; responseType: unknown },
  handler: Handler,
  wheel: TimerWheel,
  writer: MessageWriter,
): Endpoint {
  const request = types.requestType as MessageType<object, object>;
  const response = types.responseType as MessageType<object, object>;
  return {
    method,
    spans: callSpans(method.service, method.name),
    decode: (bytes) => request.decode(bytes),
    handle: handler,
    encode: (answer) => writer.encode(response, response.fromPartial(answer)),
    admission: new Admission(wheel),
    stats: new EndpointStats(),
  };
}

/**
 * Reads a request. Bytes that are no message of the contract, or one that breaks its rules, never reach a handler.
 * @throws RpcError INVALID_ARGUMENT naming each field that breaks a rule.
 */
export function decodeRequest(endpoint: Endpoint, bytes: Uint8Array): object {
  let request: object;
  try {
    request = endpoint.decode(bytes);
  } catch (cause) {
    throw new RpcError(
      StatusCode.INVALID_ARGUMENT,
      `The request is no ${endpoint.method.input.typeName}`,
      {},
      { cause },
    );
  }
  const found = violations(endpoint.method.input.typeName, request);
  if (!found.length) return request;
  const text = found.map(({ field, description }) => `${field} ${description}`).join("; ");
  throw new RpcError(StatusCode.INVALID_ARGUMENT, text, { violations: found });
}
