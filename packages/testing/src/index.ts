export { silentLog, startNats, type TestNats } from "./nats.ts";
export { startRedis, type TestRedis } from "./redis.ts";
export { waitUntil } from "@warren/local-stack";
