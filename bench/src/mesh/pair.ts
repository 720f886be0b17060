// The processes of one subject, one client and one or more servers, and what a run of theirs costs.
import { join } from "node:path";
import type { Workload } from "./load.ts";
import type { Target } from "./subject.ts";
import { Worker } from "./worker.ts";

/** What one run of a workload gave. */
export interface Measurement {
  readonly operations: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU time an operation takes, in microseconds. */
  readonly clientCpuMicros: number;
  /** Of all servers together. */
  readonly serverCpuMicros: number;
}

/** Bytes that an operation allocates. */
export interface Allocation {
  readonly client: number;
  readonly server: number;
}

/** A subject whose client reaches its servers. */
export class Pair {
  readonly subject: string;
  readonly #servers: readonly Worker[];
  readonly #client: Worker;

  private constructor(subject: string, servers: readonly Worker[], client: Worker) {
    this.subject = subject;
    this.#servers = servers;
    this.#client = client;
  }

  /** Starts the servers, then the client. Ends them again when one cannot start. */
  static async start(subject: string, target: Target, servers = 1): Promise<Pair> {
    const workers = Array.from({ length: servers }, (_, i) => new Worker(`${subject}, server ${i + 1}`));
    const client = new Worker(`${subject}, client`);
    const pair = new Pair(subject, workers, client);
    try {
      const starts = workers.map((worker) => worker.ask("start", { subject, role: "server", target }));
      const [address] = await Promise.all(starts);
      await client.ask("start", { subject, role: "client", target: { ...target, address } });
      return pair;
    } catch (error) {
      await pair.stop();
      throw error;
    }
  }

  /** Runs a workload for so long. */
  async measure(workload: Workload, durationMs: number): Promise<Measurement> {
    const [clientBefore, serverBefore] = await this.#cpu();
    const { operations, seconds, p50Ms, p99Ms } = await this.#client.ask("run", { workload, durationMs });
    const [clientAfter, serverAfter] = await this.#cpu();
    return {
      operations,
      perSecond: operations / seconds,
      p50Ms,
      p99Ms,
      clientCpuMicros: (clientAfter - clientBefore) / operations,
      serverCpuMicros: (serverAfter - serverBefore) / operations,
    };
  }

  /** Runs a workload with the heap's allocations sampled. */
  async allocations(workload: Workload, durationMs: number): Promise<Allocation> {
    const [server] = this.#servers;
    if (!server) throw new Error(`${this.subject} has no server`);
    await Promise.all([server.ask("startAllocations", undefined), this.#client.ask("startAllocations", undefined)]);
    const { operations } = await this.#client.ask("run", { workload, durationMs });
    const [atClient, atServer] = await Promise.all([
      this.#client.ask("stopAllocations", undefined),
      server.ask("stopAllocations", undefined),
    ]);
    return { client: atClient / operations, server: atServer / operations };
  }

  /** Runs a workload and writes CPU profiles of both sides into a folder. */
  async profile(workload: Workload, durationMs: number, folder: string, name: string): Promise<void> {
    const sides = [["client", this.#client] as const, ...this.#servers.map((each) => ["server", each] as const)];
    await Promise.all(sides.map(([, worker]) => worker.ask("startProfile", undefined)));
    await this.#client.ask("run", { workload, durationMs });
    await Promise.all(
      sides.map(([side, worker]) => worker.ask("stopProfile", join(folder, `${name}-${side}.cpuprofile`))),
    );
  }

  /** The memory of a pending call at the client, in bytes. */
  holdCalls(calls: number, holdMs: number): Promise<number> {
    return this.#client.ask("holdCalls", { calls, holdMs });
  }

  /** Ends its processes. */
  async stop(): Promise<void> {
    await Promise.all([this.#client, ...this.#servers].map((worker) => worker.stop()));
  }

  async #cpu(): Promise<[client: number, servers: number]> {
    const [client = 0, ...servers] = await Promise.all(
      [this.#client, ...this.#servers].map((worker) => worker.ask("cpu", undefined)),
    );
    return [client, servers.reduce((sum, each) => sum + each, 0)];
  }
}
