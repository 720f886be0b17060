// The connection to Redis that a limiter wants.
import { Redis, type RedisOptions } from "ioredis";

/** Longest wait for everything but a decision: a handshake over TLS may take its time. */
const COMMAND_TIMEOUT_MS = 2_000;
const LONGEST_RECONNECT_DELAY_MS = 1_000;

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
    // What was the primary is a replica now: the address leads to the new one.
    reconnectOnError: (error: Error) => error.message.includes("READONLY"),
  } satisfies RedisOptions;
  const { protocol, pathname } = new URL(url);
  if (protocol === "unix:") return new Redis({ ...options, path: decodeURIComponent(pathname) });
  if (protocol === "redis:" || protocol === "rediss:") return new Redis(url, options);
  throw new Error(`The Redis address has the scheme ${protocol}: use redis://, rediss:// or unix:///path`);
}
