export { findServer, lookUp } from "./find-server.ts";
export { type Ending, type ManagedProcess, startProcess } from "./managed-process.ts";
export { meshCredentials } from "./mesh-credentials.ts";
export { type RunningNats, startNatsServer } from "./nats-server.ts";
export { type RunningRedis, startRedisServer } from "./redis-server.ts";
export { waitUntil } from "./wait-until.ts";
export { type LocalStack, type LocalStackOptions, startLocalStack } from "./stack.ts";
