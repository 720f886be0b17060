// What a user might take in place of Warren's limiter.
import rateLimit from "@fastify/rate-limit";
import { fastify, type FastifyRequest } from "fastify";
import { Redis } from "ioredis";
import { RateLimiterRedis, RateLimiterUnion } from "rate-limiter-flexible";
import { type LimiterSubject, NEVER_REACHED, PERIOD_S, type Shape } from "./subject.ts";

/** rate-limiter-flexible: several limits are a union of limiters, each with a round trip of its own. */
export async function rateLimiterFlexible(redisPath: string, { limits, hot }: Shape): Promise<LimiterSubject> {
  const redis = await connect(redisPath);
  const each = Array.from(
    { length: limits },
    (_, i) =>
      new RateLimiterRedis({
        storeClient: redis,
        keyPrefix: `flexible-${i}`,
        points: NEVER_REACHED,
        duration: PERIOD_S,
      }),
  );
  const [only] = each;
  const limiter = limits === 1 && only ? only : new RateLimiterUnion(...each);
  return {
    decide: async (caller) => {
      await limiter.consume(`device:${hot ? 0 : caller}`);
      return true;
    },
    close: () => Promise.resolve(redis.disconnect()),
  };
}

/** @fastify/rate-limit by its own function for decisions; several limits one after the other, as its hooks run. */
export async function fastifyRateLimit(redisPath: string, { limits, hot }: Shape): Promise<LimiterSubject> {
  const redis = await connect(redisPath);
  const app = fastify();
  await app.register(rateLimit, { global: false, redis });
  const checks = Array.from({ length: limits }, (_, i) =>
    app.createRateLimit({
      max: NEVER_REACHED,
      timeWindow: PERIOD_S * 1000,
      keyGenerator: (request) => `fastify-${i}-${request.ip}`,
    }),
  );
  return {
    decide: async (caller) => {
      // What it looks at of a request.
      const routeOptions = { config: {} };
      const request = { ip: `device:${hot ? 0 : caller}`, routeOptions } as unknown as FastifyRequest;
      for (const check of checks) {
        const decision = await check(request);
        if (!decision.isAllowed && decision.isExceeded) return false;
      }
      return true;
    },
    close: async () => {
      await app.close();
      redis.disconnect();
    },
  };
}

async function connect(path: string): Promise<Redis> {
  const redis = new Redis({ path, lazyConnect: true });
  await redis.connect();
  return redis;
}
