// Closed loops: each caller makes its next call when its last was answered.
import { Histogram } from "../histogram.ts";
import type { CallingSide } from "./subject.ts";

/** Unary calls: `callers` at once, each with `bytes` of text there and back. */
export interface UnaryWorkload {
  readonly kind: "unary";
  readonly bytes: number;
  readonly callers: number;
}

/** Streams of so many messages of 128 bytes, one after the other in each of `callers` readers. */
export interface StreamWorkload {
  readonly kind: "stream";
  readonly messages: number;
  readonly callers: number;
}

export type Workload = UnaryWorkload | StreamWorkload;

/** What a client saw of one run. */
export interface Run {
  /** Calls answered, or messages of streams read. */
  readonly operations: number;
  readonly seconds: number;
  /** Of a call; of a whole stream. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * Puts a load on a subject for so long; calls that are under way then are waited for.
 * @throws whatever a call throws, and Error when an answer is not what was sent: a wrong answer is no figure.
 */
export async function run(side: CallingSide, workload: Workload, durationMs: number): Promise<Run> {
  const latencies = new Histogram();
  const once = workload.kind === "unary" ? unary(side, workload.bytes) : streaming(side, workload.messages);
  const started = performance.now();
  const until = started + durationMs;
  let operations = 0;
  const caller = async (index: number): Promise<void> => {
    for (let before = performance.now(); before < until;) {
      const done = await once(index);
      // Added after the wait: `+= await` would add to what the sum was before it.
      operations += done;
      const after = performance.now();
      latencies.record(after - before);
      before = after;
    }
  };
  await Promise.all(Array.from({ length: workload.callers }, (_, index) => caller(index)));
  const seconds = (performance.now() - started) / 1000;
  return { operations, seconds, p50Ms: latencies.quantile(0.5), p99Ms: latencies.quantile(0.99) };
}

function unary(side: CallingSide, bytes: number): (caller: number) => Promise<number> {
  const text = "e".repeat(bytes);
  return async (caller) => {
    const answer = await side.echo(text, caller);
    if (answer.length !== bytes) throw new Error(`An echo of ${bytes} characters came back with ${answer.length}`);
    return 1;
  };
}

function streaming(side: CallingSide, messages: number): () => Promise<number> {
  return async () => {
    const seen = await side.stream?.(messages);
    if (seen !== messages) throw new Error(`A stream of ${messages} messages arrived with ${seen}`);
    return messages;
  };
}
