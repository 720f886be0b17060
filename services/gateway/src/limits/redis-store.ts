// Counters in Redis: one function decides every limit of a request in one round trip.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { Redis, type RedisOptions } from "ioredis";
import type { KeyedLimit } from "./policy.ts";
import type { LimitDecision, LimitStore } from "./store.ts";

const tracer = trace.getTracer("@warren/gateway");
const source = readFileSync(new URL("library.lua", import.meta.url), "utf8");
// The name holds the content's hash: gateways of two versions share a server without changing each other's arithmetic.
const library = `warren_limits_${createHash("sha256").update(source).digest("hex").slice(0, 12)}`;
const functionCode = `#!lua name=${library}\n${source}\nredis.register_function("${library}", decide)\n`;
const script = `${source}\nreturn decide(KEYS, ARGV)\n`;
const scriptHash = createHash("sha1").update(script).digest("hex");

/** Longest wait for a decision, in milliseconds: a slow limiter must not become a slow gateway. */
const DECISION_TIMEOUT_MS = 20;
/** Longest wait for everything else: a handshake over TLS may take its time. */
const COMMAND_TIMEOUT_MS = 2_000;
const LONGEST_RECONNECT_DELAY_MS = 1_000;
const FIELDS = 4;

/**
 * A client for a limiter: fails fast, queues nothing, never tries twice, reconnects for ever.
 * @param url `redis://`, `rediss://`, or `unix:///path/to/socket`.
 * @param password In place of one in the address.
 */
export function connectRedis(url: string, password?: string): Redis {
  const options = {
    ...(password === undefined ? {} : { password }),
    lazyConnect: true,
    commandTimeout: COMMAND_TIMEOUT_MS,
    connectTimeout: 2_000,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    retryStrategy: (times: number) => Math.min(times * 50, LONGEST_RECONNECT_DELAY_MS),
  } satisfies RedisOptions;
  const { protocol, pathname } = new URL(url);
  if (protocol === "unix:") return new Redis({ ...options, path: decodeURIComponent(pathname) });
  if (protocol === "redis:" || protocol === "rediss:") return new Redis(url, options);
  throw new Error(`The Redis address has the scheme ${protocol}: use redis://, rediss:// or unix:///path`);
}

/** Counters in a Redis that answers; errors pass to the caller, who has a breaker. */
export class RedisStore implements LimitStore {
  readonly #redis: Redis;
  readonly #timeoutMs: number;
  /** Servers before 7.0, and those whose operator forbids it, have no functions: a cached script does the same there. */
  #mode: "function" | "script" = "function";

  /** @param timeoutMs Longest wait for a decision. */
  constructor(redis: Redis, timeoutMs = DECISION_TIMEOUT_MS) {
    this.#redis = redis;
    this.#timeoutMs = timeoutMs;
  }

  /** Whether the server runs functions, or a script is used in their place. */
  get mode(): "function" | "script" {
    return this.#mode;
  }

  /** Puts the code on the server, so that the first request finds it there; again after a restart has lost it. */
  async load(): Promise<void> {
    try {
      await this.#redis.call("FUNCTION", "LOAD", "REPLACE", functionCode);
      this.#mode = "function";
    } catch (error) {
      if (!/unknown command|NOPERM/i.test((error as Error).message)) throw error;
      this.#mode = "script";
      await this.#redis.call("SCRIPT", "LOAD", script);
    }
  }

  /** Fails unless the server answers and has the code. */
  async probe(): Promise<void> {
    await this.#run([], []);
  }

  async check(limits: readonly KeyedLimit[]): Promise<LimitDecision[]> {
    return (await this.decide(limits)).decisions;
  }

  /** {@link check}, with the server's time (µs since 1970) at which it was decided. */
  async decide(limits: readonly KeyedLimit[]): Promise<{ now: number; decisions: LimitDecision[] }> {
    const reply = await this.#run(
      limits.map(({ key }) => key),
      limits.flatMap(argumentsOf),
    );
    const [now = 0, ...values] = reply;
    const decisions = limits.map(({ limit }, i): LimitDecision => {
      const [allowed, remaining = 0, reset = 0, retry = 0] = values.slice(i * FIELDS, (i + 1) * FIELDS);
      return { limit, allowed: allowed === 1, remaining, resetMs: reset / 1000, retryMs: retry / 1000 };
    });
    return { now, decisions };
  }

  async #run(keys: string[], args: string[]): Promise<number[]> {
    try {
      return await this.#traced(keys, args);
    } catch (error) {
      // A restarted server has forgotten the code.
      if (!/Function not found|NOSCRIPT/i.test((error as Error).message)) throw error;
      await this.load();
      return await this.#traced(keys, args);
    }
  }

  async #traced(keys: string[], args: string[]): Promise<number[]> {
    const [command, code] = this.#mode === "function" ? ["FCALL", library] : ["EVALSHA", scriptHash];
    const attributes = { "db.system.name": "redis", "db.operation.name": command };
    const span = tracer.startSpan(`redis ${command}`, { kind: SpanKind.CLIENT, attributes });
    try {
      const reply = this.#redis.call(command, code, keys.length, ...keys, ...args);
      return (await within(this.#timeoutMs, reply)) as number[];
    } catch (error) {
      markFailed(span, error as Error);
      throw error;
    } finally {
      span.end();
    }
  }
}

/** Rejects when the time is up; what comes later is dropped. */
function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`No answer within ${milliseconds} ms`)), milliseconds);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function markFailed(span: Span, error: Error): void {
  span.setAttribute("error.type", error.name);
  span.setStatus({ code: SpanStatusCode.ERROR, message: error.message.slice(0, 120) });
}

function argumentsOf({ limit }: KeyedLimit): string[] {
  const { algorithm, limit: perPeriod, periodMicros, burst, cost, shadow } = limit;
  return [
    algorithm === "bucket" ? "b" : "w",
    `${perPeriod}`,
    `${periodMicros}`,
    `${burst}`,
    `${cost}`,
    shadow ? "1" : "0",
  ];
}
