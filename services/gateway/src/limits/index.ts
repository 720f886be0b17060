// The limiter by itself, for benchmarks.
export { ClusterStore } from "./cluster-store.ts";
export { RedisLimiter } from "./limiter.ts";
export { type LimitSubject, parsePolicy, type Policy, type PolicyInput } from "./policy.ts";
export { connectRedis } from "./redis-client.ts";
export { RedisStore } from "./redis-store.ts";
