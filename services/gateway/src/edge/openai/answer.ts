// What both forms of answer are made with.
import { randomBytes } from "node:crypto";
import { RpcError, StatusCode } from "@warren/mesh";
import type { CompleteEvent, CompleteFinished, FunctionCall, Usage } from "@warren/proto/warren/agent/v1/agent";

/** An answer, whole. */
export interface GatheredAnswer {
  readonly text: string;
  readonly calls: readonly FunctionCall[];
  readonly reason: CompleteFinished["reason"];
  readonly usage: Usage;
}

const NO_USAGE: Usage = { inputTokens: 0, outputTokens: 0, totalTokens: 0, model: "", steps: 0 };

/** Waits for an answer's end. @throws RpcError whatever ended it before. */
export async function gather(events: AsyncIterable<CompleteEvent>): Promise<GatheredAnswer> {
  let text = "";
  const calls: FunctionCall[] = [];
  for await (const { event } of events) {
    if (event?.$case === "text") text += event.value.text;
    if (event?.$case === "call") calls.push(event.value);
    if (event?.$case === "finished")
      return { text, calls, reason: event.value.reason, usage: event.value.usage ?? NO_USAGE };
  }
  throw brokenOff();
}

/** The error of an answer without an end. */
export function brokenOff(): RpcError {
  return new RpcError(StatusCode.UNAVAILABLE, "The answer broke off before its end", { reason: "MODEL_UNAVAILABLE" });
}

/** A new id: `chatcmpl-…`, `resp_…`. */
export function newId(prefix: string): string {
  return prefix + randomBytes(18).toString("base64url");
}

/** Now, in seconds since 1970. */
export function seconds(): number {
  return Math.floor(Date.now() / 1000);
}

/** A server-sent event without a name. */
export function data(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}
