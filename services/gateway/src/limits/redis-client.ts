// The connection to Redis, or to a Redis Cluster, that a limiter wants.
import { Cluster, Redis, type RedisOptions } from "ioredis";

/** Longest wait for everything but a decision: a handshake over TLS may take its time. */
const COMMAND_TIMEOUT_MS = 2_000;
const LONGEST_RECONNECT_DELAY_MS = 1_000;
/** How often the map of slots is read again: a resharding tells by itself, a new primary without traffic does not. */
const SLOTS_REFRESH_MS = 5_000;
/** Times that a decision is sent on to where its slot is now; the limiter waits 20 ms in all. */
const MOST_REDIRECTIONS = 4;

const reconnectDelay = (times: number): number => Math.min(times * 50, LONGEST_RECONNECT_DELAY_MS);

const common = {
  commandTimeout: COMMAND_TIMEOUT_MS,
  connectTimeout: 2_000,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
} satisfies RedisOptions;

/**
 * A client for a limiter: fails fast, queues nothing, never tries twice, reconnects for ever.
 * @param url `redis://`, `rediss://`, or `unix:///path/to/socket`; of a cluster `redis+cluster://` or `rediss+cluster://` and some of
 * its members, by commas: `redis+cluster://one:6379,two:6379`.
 * @param password In place of one in the address.
 */
export function connectRedis(url: `unix://${string}`, password?: string): Redis;
export function connectRedis(url: string, password?: string): Redis | Cluster;
export function connectRedis(url: string, password?: string): Redis | Cluster {
  const [, scheme = "", members = ""] = /^(rediss?)\+cluster:\/\/(.*)$/.exec(url) ?? [];
  if (scheme !== "") return connectCluster(scheme === "rediss", members, password);
  const options = {
    ...common,
    ...(password === undefined ? {} : { password }),
    lazyConnect: true,
    enableOfflineQueue: false,
    retryStrategy: reconnectDelay,
    // What was the primary is a replica now: the address leads to the new one.
    reconnectOnError: (error: Error) => error.message.includes("READONLY"),
  } satisfies RedisOptions;
  const { protocol, pathname } = new URL(url);
  if (protocol === "unix:") return new Redis({ ...options, path: decodeURIComponent(pathname) });
  if (protocol === "redis:" || protocol === "rediss:") return new Redis(url, options);
  throw new Error(
    `The Redis address has the scheme ${protocol}: use redis://, rediss:// or unix:///path; of a cluster redis+cluster:// or rediss+cluster://`,
  );
}

function connectCluster(tls: boolean, members: string, password: string | undefined): Cluster {
  const urls = members.split(",").map((member) => {
    if (!URL.canParse(`redis://${member}`))
      throw new Error("The Redis Cluster's address is not understood: use redis+cluster://host:port,host:port");
    return new URL(`redis://${member}`);
  });
  const named = urls.find(({ username, password: secret }) => username !== "" || secret !== "");
  const secret = password ?? decodeURIComponent(named?.password ?? "");
  return new Cluster(
    urls.map(({ hostname, port }) => ({ host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || 6379) })),
    {
      lazyConnect: true,
      enableOfflineQueue: false,
      scaleReads: "master",
      maxRedirections: MOST_REDIRECTIONS,
      retryDelayOnFailover: 5,
      retryDelayOnClusterDown: 5,
      retryDelayOnTryAgain: 2,
      slotsRefreshInterval: SLOTS_REFRESH_MS,
      clusterRetryStrategy: reconnectDelay,
      // Names stay names: certificates are made for them.
      dnsLookup: (address, done) => done(null, address),
      redisOptions: {
        ...common,
        ...(named?.username ? { username: decodeURIComponent(named.username) } : {}),
        ...(secret === "" ? {} : { password: secret }),
        ...(tls ? { tls: {} } : {}),
      },
    },
  );
}
