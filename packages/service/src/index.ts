export { ConfigError, type ConfigSchema, type CommonConfig, type Environment, loadConfig, nearest } from "./config.ts";
export { type Decision, DecisionTrail, type DecisionTrailOptions } from "./decision-trail.ts";
export { Health, type Probe } from "./health.ts";
export { createLog, type Logger } from "./log.ts";
export { type ProbeAnswer, type ProbeServer, type ProbeServerOptions, serveProbes } from "./probe-server.ts";
export { redact } from "./redact.ts";
export { type RunningService, runService, type ServiceDependencies, type ServiceSetup } from "./run-service.ts";
export type { SpanStore } from "./span-store.ts";
export { type ForeignSpan, startTelemetry, type Telemetry } from "./telemetry.ts";
