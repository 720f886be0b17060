// Warren's limiter, as the gateway builds it.
import {
  type LimitSubject,
  parsePolicy,
  type PolicyInput,
  RedisLimiter,
  RedisStore,
  connectRedis,
} from "@warren/gateway/limits";
import { type LimiterSubject, NEVER_REACHED, PERIOD_S, type Shape } from "./subject.ts";

const ignore = (): void => {};
const log = { error: fail, warn: fail, info: ignore, debug: ignore };

function fail(fields: object, text: string): void {
  throw new Error(`The limiter reports: ${text} ${JSON.stringify(fields)}`);
}

/** @param leased Whether the limits may be leased. */
export function warren(leased: boolean): (redisPath: string, shape: Shape) => Promise<LimiterSubject> {
  return async (redisPath, shape) => {
    const redis = connectRedis(`unix://${redisPath}`);
    await redis.connect();
    // A shared machine may stop for longer than a gateway would wait.
    const store = new RedisStore(redis, { timeoutMs: 5000 });
    await store.load();
    const policy = parsePolicy({ limits: entries(shape, leased) });
    const limiter = new RedisLimiter({ policy: () => policy, store, log, onDegraded: ignore });
    return {
      decide: (caller) => {
        const checked = limiter.check(subjectOf(shape.hot ? 0 : caller), false);
        return checked instanceof Promise
          ? checked.then(({ verdict }) => verdict === "allowed")
          : checked.verdict === "allowed";
      },
      close: () => {
        limiter.close();
        redis.disconnect();
        return Promise.resolve();
      },
    };
  };
}

function entries({ limits }: Shape, lease: boolean): PolicyInput["limits"] {
  return Array.from({ length: limits }, (_, i) => ({
    name: `limit-${i}`,
    key: "principal" as const,
    algorithm: i % 2 ? ("bucket" as const) : ("window" as const),
    limit: NEVER_REACHED,
    period: PERIOD_S,
    lease,
  }));
}

function subjectOf(caller: number): LimitSubject {
  const principal = `device:${caller}`;
  return { address: "192.0.2.1", principal, tenant: "default", limitClass: "chat", endpoint: "/v1/chat" };
}
