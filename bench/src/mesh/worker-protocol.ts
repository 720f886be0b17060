// What a suite asks of a worker process, and what it gets.
import type { Run, Workload } from "./load.ts";
import type { Target } from "./subject.ts";

/** Each operation: what it takes and what it returns. */
export interface Operations {
  /** Becomes the serving or the calling side of a subject; returns where it listens. */
  start: { takes: { subject: string; role: "server" | "client"; target: Target }; gives: string | undefined };
  /** Calls for so long. */
  run: { takes: { workload: Workload; durationMs: number }; gives: Run };
  /** CPU time of the process so far, user and system, in microseconds. */
  cpu: { takes: undefined; gives: number };
  /** Begins to sample what is allocated on the heap. */
  startAllocations: { takes: undefined; gives: undefined };
  /** Bytes allocated on the heap since, also those freed again: an estimate from samples. */
  stopAllocations: { takes: undefined; gives: number };
  /** Begins a CPU profile. */
  startProfile: { takes: undefined; gives: undefined };
  /** Ends it and writes it to a file. */
  stopProfile: { takes: string; gives: undefined };
  /** Opens so many calls that are answered after `holdMs`; returns the memory each takes while it waits, in bytes. */
  holdCalls: { takes: { calls: number; holdMs: number }; gives: number };
  stop: { takes: undefined; gives: undefined };
}

export type OperationName = keyof Operations;

/** A question to a worker. */
export interface Question<N extends OperationName = OperationName> {
  readonly id: number;
  readonly name: N;
  readonly argument: Operations[N]["takes"];
}

/** Its answer: a result or the text of an error. */
export interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}
