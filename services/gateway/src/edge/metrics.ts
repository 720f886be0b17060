// What the gateway counts, in Prometheus' text form. Labels are templates and names, never ids.
import type { FastifyInstance } from "fastify";
import { Counter, Gauge, Histogram, Registry, SECONDS, startAtZero } from "@warren/service";
import { PUBLIC_SCOPE } from "../identity/authorize.ts";
import type { DecidedBy } from "../limits/limiter.ts";
import type { RequestEnd } from "./request-context.ts";

/** The gateway's metrics. */
export interface Metrics {
  readonly registry: Registry;
  /** Tells whether a token was known, or whether who was known may do what was asked for. */
  readonly access: (check: "authentication" | "authorization", granted: boolean) => void;
  /** Tells which limits there are: their decisions are shown from the first on. */
  readonly limits: (policies: readonly string[]) => void;
  /** Tells of a limit's decision. */
  readonly decided: (policy: string, outcome: LimitDecision) => void;
  /** Tells how a request was decided. */
  readonly decidedBy: (by: DecidedBy) => void;
  /** Tells of a round trip to Redis. */
  readonly roundTrip: (operations: number, seconds: number) => void;
  /** Tells of an attempt to change the policy. */
  readonly policyReload: (outcome: "changed" | "refused") => void;
  /** Gateways that live. */
  readonly gateways: Gauge;
  /** Tells of each finished request. */
  ended(end: RequestEnd): void;
  /** Tells of each finished gRPC call. @param code The status' name: `NOT_FOUND`. */
  called(method: string, code: string, seconds: number): void;
  /** 1 while limits are counted by this gateway for itself. */
  readonly limiterDegraded: Gauge;
  /** Requests that are being served. */
  readonly active: Gauge;
  /** Tokens that models took and gave. */
  readonly tokens: Counter<"route" | "kind">;
}

const LIMIT_DECISIONS = ["allowed", "denied", "shadow_denied"] as const;
/** What a limit says of a request; `shadow_denied`: it would have denied it, and only watches. */
export type LimitDecision = (typeof LIMIT_DECISIONS)[number];

const ROUND_TRIP_SECONDS = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05];

/** Adds the gateway's metrics to a registry. */
export function createMetrics(registry = new Registry()): Metrics {
  const registers = [registry];
  const duration = new Histogram({
    name: "http_server_request_duration_seconds",
    help: "Time from the first byte of a request to the last of its response",
    labelNames: ["method", "route", "status"] as const,
    buckets: SECONDS,
    registers,
  });
  const accesses = new Counter({
    name: "warren_access_decisions_total",
    help: "Whether a token was known (authentication), and whether it may do what it asks for (authorization)",
    labelNames: ["check", "outcome"] as const,
    registers,
  });
  startAtZero(accesses, { check: ["authentication", "authorization"], outcome: ["granted", "refused"] });
  const access = children((check: string, outcome: string) => accesses.labels(check, outcome));
  const decisions = new Counter({
    name: "warren_limit_decisions_total",
    help: "Decisions of each limit",
    labelNames: ["policy", "outcome"] as const,
    registers,
  });
  const requests = new Counter({
    name: "warren_limiter_requests_total",
    help: "Requests by who decided: redis, a lease, a denial that was known, this gateway's memory",
    labelNames: ["by"] as const,
    registers,
  });
  const roundTrips = new Histogram({
    name: "warren_limiter_redis_seconds",
    help: "Round trips to Redis, also those that failed",
    buckets: ROUND_TRIP_SECONDS,
    registers,
  });
  const operations = new Counter({
    name: "warren_limiter_redis_operations_total",
    help: "Operations that round trips carried",
    registers,
  });
  const reloads = new Counter({
    name: "warren_limit_policy_reloads_total",
    help: "Attempts to change the limits",
    labelNames: ["outcome"] as const,
    registers,
  });
  startAtZero(reloads, { outcome: ["changed", "refused"] });
  const calls = new Histogram({
    name: "rpc_server_call_duration_seconds",
    help: "Time from the first byte of a gRPC call to its status",
    labelNames: ["method", "code"] as const,
    buckets: SECONDS,
    registers,
  });
  return {
    registry,
    called: (method, code, seconds) => calls.observe({ method, code }, seconds),
    access: (check, granted) => access(check, granted ? "granted" : "refused"),
    limits: (policy) => startAtZero(decisions, { policy, outcome: LIMIT_DECISIONS }),
    decided: children((policy: string, outcome: string) => decisions.labels(policy, outcome)),
    decidedBy: children((by: string) => requests.labels(by)),
    roundTrip: (count, seconds) => {
      roundTrips.observe(seconds);
      operations.inc(count);
    },
    policyReload: (outcome) => reloads.inc({ outcome }),
    gateways: new Gauge({ name: "warren_limiter_gateways", help: "Gateways that share the limits", registers }),
    limiterDegraded: new Gauge({
      name: "warren_limiter_degraded",
      help: "1 while limits are counted by this gateway for itself",
      registers,
    }),
    active: new Gauge({ name: "http_server_active_requests", help: "Requests that are being served", registers }),
    tokens: new Counter({
      name: "warren_model_tokens_total",
      help: "Tokens that models took (input) and gave (output) under the routes of OpenAI's clients",
      labelNames: ["route", "kind"] as const,
      registers,
    }),
    ended: ({ method, route, status, seconds }) =>
      duration.observe({ method, route: route ?? "unknown", status: String(status) }, seconds),
  };
}

/** Counts by labels. A counter's child is looked up once: finding it costs more than counting. */
function children<Labels extends string[]>(
  childOf: (...labels: Labels) => { inc(): void },
): (...labels: Labels) => void {
  const known = new Map<string, { inc(): void }>();
  return (...labels) => {
    const key = labels.join(" ");
    let child = known.get(key);
    if (child === undefined) known.set(key, (child = childOf(...labels)));
    child.inc();
  };
}

/** Adds `GET /metrics`. */
export function serveMetrics(app: FastifyInstance, { registry }: Metrics): void {
  const policy = { template: "/metrics", scope: PUBLIC_SCOPE, limitClass: "", unlimited: true };
  app.get("/metrics", { config: { policy } }, async (_request, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  );
}
