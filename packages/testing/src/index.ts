export { type FaultyLink, openFaultyLink } from "./faulty-link.ts";
export { startNatsCluster, type TestClusterOptions, type TestNatsCluster, type TestNatsNode } from "./nats-cluster.ts";
export { natsServerVersion } from "./nats-node.ts";
export { silentLog, startNats, type TestNats } from "./nats.ts";
export {
  type PrometheusAlert,
  type PrometheusRule,
  type PrometheusSample,
  startPrometheus,
  type TestPrometheus,
} from "./prometheus.ts";
export { startRedisCluster, type TestPrimary, type TestRedisCluster } from "./redis-cluster.ts";
export { startRedis, type TestRedis } from "./redis.ts";
export { type Answer, type Json, startStack, type TestStack, type TestStackOptions } from "./stack.ts";
export { findServer, waitUntil } from "@warren/local-stack";
