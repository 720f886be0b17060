// Counters in Redis: one function does everything of one moment in one round trip.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { Cluster, type Redis } from "ioredis";
import { hashTag } from "./hash-tag.ts";
import { Batch, Reply } from "./redis-batch.ts";
import type { KeyedLimit } from "./policy.ts";
import type { LimitDecision, LimitStore, Operation, Outcome } from "./store.ts";

const tracer = trace.getTracer("@warren/gateway");
const source = readFileSync(new URL("library.lua", import.meta.url), "utf8");
// The name holds the content's hash: gateways of two versions share a server without changing each other's arithmetic.
const library = `warren_limits_${createHash("sha256").update(source).digest("hex").slice(0, 12)}`;
const functionCode = `#!lua name=${library}\n${source}\nredis.register_function("${library}", run)\n`;
const script = `${source}\nreturn run(KEYS, ARGV)\n`;
const scriptHash = createHash("sha1").update(script).digest("hex");

/** Longest wait for a decision, in milliseconds: a slow limiter must not become a slow gateway. */
const DECISION_TIMEOUT_MS = 20;
/**
 * Most operations of one round trip: while Redis does some, this process writes and reads others. What comes back together goes
 * on together, and shares a write to NATS as well: with 16 a gateway of 32 connections answered 7 % less.
 */
const MOST_IN_BATCH = 32;
/** The server has forgotten the code, or never had it. */
const NO_CODE = /Function not found|NOSCRIPT/i;

interface Waiting {
  readonly operation: Operation;
  readonly span: Span | undefined;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

export interface RedisStoreOptions {
  /** Longest wait for an outcome, in milliseconds. */
  readonly timeoutMs?: number | undefined;
  /** Told of each round trip: how many operations it carried, and how long it took, in seconds. */
  readonly onRoundTrip?: (operations: number, seconds: number) => void;
}

/**
 * Counters in a Redis that answers; errors pass to the caller, who has a breaker. What is asked for in the same turn of the
 * event loop shares a round trip; in a cluster, what lies in the same slot. There a request's limits must lie in one:
 * {@link ClusterStore} sees to that.
 */
export class RedisStore implements LimitStore {
  readonly #redis: Redis | Cluster;
  /** Longest wait for an outcome, in milliseconds. */
  readonly timeoutMs: number;
  readonly #onRoundTrip: (operations: number, seconds: number) => void;
  /** Servers before 7.0, and those whose operator forbids it, have no functions: a cached script does the same there. */
  #mode: "function" | "script" = "function";
  #waiting: Waiting[] = [];
  #loading: Promise<void> | undefined;

  constructor(
    redis: Redis | Cluster,
    { timeoutMs = DECISION_TIMEOUT_MS, onRoundTrip = () => {} }: RedisStoreOptions = {},
  ) {
    this.#redis = redis;
    this.timeoutMs = timeoutMs;
    this.#onRoundTrip = onRoundTrip;
  }

  /** Whether the server runs functions, or a script is used in their place. */
  get mode(): "function" | "script" {
    return this.#mode;
  }

  /** Puts the code on the server, so that the first request finds it there; again after a restart has lost it. */
  load(): Promise<void> {
    this.#loading ??= this.#load().finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  /** Fails unless the server (of a cluster: each primary, for all slots) answers, has the code and takes writes. */
  async probe(): Promise<void> {
    const whole = this.#servers().map(async (server) => {
      await this.#call(new Batch(), server);
      if (!(this.#redis instanceof Cluster)) return;
      const info = String(await server.call("CLUSTER", "INFO"));
      if (!info.includes("cluster_state:ok")) throw new Error("The cluster is down: some slots have no primary");
    });
    await within(this.timeoutMs, Promise.all(whole));
  }

  /** What the limits say of one request that holds nothing. */
  async check(limits: readonly KeyedLimit[]): Promise<readonly LimitDecision[]> {
    return (await this.run({ kind: "decide", limits, hold: "" })).decisions;
  }

  run(operation: Operation): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const span = operation.kind === "decide" ? this.#span() : undefined;
      // The turn's other requests may come along: its end is when all that has arrived has been read.
      if (this.#waiting.push({ operation, span, resolve, reject }) === 1) setImmediate(() => this.#flush());
    });
  }

  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const together of this.#bySlot(waiting))
      for (let i = 0; i < together.length; i += MOST_IN_BATCH) void this.#send(together.slice(i, i + MOST_IN_BATCH));
  }

  #bySlot(waiting: readonly Waiting[]): Iterable<readonly Waiting[]> {
    return this.#redis instanceof Cluster
      ? Map.groupBy(waiting, ({ operation }) => hashTag(operation)).values()
      : [waiting];
  }

  #servers(): readonly Redis[] {
    if (!(this.#redis instanceof Cluster)) return [this.#redis];
    const primaries = this.#redis.nodes("master");
    if (primaries.length === 0) throw new Error("No primary of the cluster answers");
    return primaries;
  }

  async #send(waiting: readonly Waiting[]): Promise<void> {
    const batch = new Batch();
    for (const { operation } of waiting) batch.add(operation);
    const before = performance.now();
    try {
      const reply = new Reply(await within(this.timeoutMs, this.#call(batch)));
      for (const { operation, span, resolve } of waiting) {
        span?.end();
        resolve(reply.next(operation));
      }
    } catch (error) {
      for (const { span, reject } of waiting) {
        if (span) markFailed(span, error as Error);
        reject(error);
      }
    } finally {
      this.#onRoundTrip(waiting.length, (performance.now() - before) / 1000);
    }
  }

  async #call(batch: Batch, server: Redis | Cluster = this.#redis): Promise<number[]> {
    try {
      return await this.#once(batch, server);
    } catch (error) {
      if (!NO_CODE.test((error as Error).message)) throw error;
      await this.load();
      return await this.#once(batch, server);
    }
  }

  #once({ keys, args }: Batch, server: Redis | Cluster): Promise<number[]> {
    const [command, code] = this.#mode === "function" ? ["FCALL", library] : ["EVALSHA", scriptHash];
    return server.call(command, code, keys.length, ...keys, ...args) as Promise<number[]>;
  }

  async #load(): Promise<void> {
    const servers = this.#servers();
    try {
      await Promise.all(servers.map((server) => server.call("FUNCTION", "LOAD", "REPLACE", functionCode)));
      this.#mode = "function";
    } catch (error) {
      if (!/unknown command|NOPERM/i.test((error as Error).message)) throw error;
      this.#mode = "script";
      await Promise.all(servers.map((server) => server.call("SCRIPT", "LOAD", script)));
    }
  }

  #span(): Span {
    const operation = this.#mode === "function" ? "FCALL" : "EVALSHA";
    const attributes = { "db.system.name": "redis", "db.operation.name": operation };
    return tracer.startSpan(`redis ${operation}`, { kind: SpanKind.CLIENT, attributes });
  }
}

/** Rejects when the time is up; what comes later is dropped. */
function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(new Error(`No answer within ${milliseconds} ms`));
    // After a pause of the process timers come before what has arrived meanwhile: that is read first.
    const timer = setTimeout(() => setImmediate(late), milliseconds);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function markFailed(span: Span, error: Error): void {
  span.setAttribute("error.type", error.name);
  span.setStatus({ code: SpanStatusCode.ERROR, message: error.message.slice(0, 120) });
  span.end();
}
