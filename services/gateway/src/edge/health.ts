// Health of the gateway, and of the mesh as the gateway sees it.
import { bytesToJson, methodContract } from "@warren/contract";
import type { Mesh } from "@warren/mesh";
import { HealthStatus as WireStatus } from "@warren/proto/warren/telemetry/v1/telemetry";
import type { Health } from "@warren/service";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { holds, PUBLIC_SCOPE } from "../identity/authorize.ts";
import type { Admission } from "./admission.ts";

export type HealthStatus = "healthy" | "degraded" | "unhealthy";

/** One thing that was looked at. */
export interface HealthCheck {
  readonly name: string;
  readonly status: HealthStatus;
  /** What is wrong and what to do; absent when healthy. */
  readonly message?: string;
  readonly durationMs?: number;
}

export interface HealthDependencies {
  readonly mesh: Pick<Mesh, "gather">;
  readonly admission: Pick<Admission, "identityOf">;
  /** Names of the services that belong to a whole mesh. */
  readonly expected: readonly string[];
  /** The gateway's own probes. */
  readonly health: Pick<Health, "report" | "ready">;
}

interface ReplicaHealth {
  readonly instanceId: string;
  readonly version: string;
  readonly status: HealthStatus;
  readonly checks: readonly HealthCheck[];
}

interface ServiceHealth {
  readonly service: string;
  readonly status: HealthStatus;
  readonly replicas: readonly ReplicaHealth[];
}

/** Anybody may ask: the mesh is asked at most once in this time, in milliseconds. */
const REMEMBER_MS = 1_000;
/** Who holds it is told the reasons; others the states alone. */
const DETAIL_SCOPE = "health:read";
const RANK: readonly HealthStatus[] = ["healthy", "degraded", "unhealthy"];

/** Adds `/health/live`, `/health/ready` and `/health`. */
export function serveHealth(app: FastifyInstance, deps: HealthDependencies): void {
  const route = (template: string) => ({
    config: { policy: { template, scope: PUBLIC_SCOPE, limitClass: "", unlimited: true } },
  });
  const mesh = remembered(() => askMesh(deps), REMEMBER_MS);
  const self = remembered(() => askSelf(deps), REMEMBER_MS);

  app.get("/health/live", route("/health/live"), (_request, reply) => answer(reply, "healthy"));

  // Never remembered: a load balancer must see the stop at once.
  app.get("/health/ready", route("/health/ready"), async (_request, reply) =>
    answer(reply, (await deps.health.ready()) ? "healthy" : "unhealthy"),
  );

  app.get("/health", route("/health"), async (request, reply) => {
    const own = await self();
    if (!wantsDetails(request)) return answer(reply, own.status);
    const services = await mesh();
    const status = worst([own.status, ...services.map((service) => service.status)]);
    if (await mayKnow(request, reply, deps)) return answer(reply, status, { checks: own.checks, services });
    return answer(reply, status, { checks: own.checks.map(brief), services: services.map(briefService) });
  });
}

function wantsDetails({ raw }: FastifyRequest): boolean {
  return (raw.url ?? "").split("?")[1]?.split("&").includes("detailed=true") === true;
}

async function mayKnow(
  request: FastifyRequest,
  reply: FastifyReply,
  { admission }: HealthDependencies,
): Promise<boolean> {
  const { headers } = request;
  if (headers.authorization === undefined && headers["x-warren-token"] === undefined) return false;
  const identity = await admission.identityOf(request, reply);
  return identity !== undefined && holds(identity, DETAIL_SCOPE);
}

function answer(reply: FastifyReply, status: HealthStatus, more: object = {}): FastifyReply {
  return reply.code(status === "unhealthy" ? 503 : 200).send({ status, ...more });
}

async function askSelf({ health }: HealthDependencies): Promise<{ status: HealthStatus; checks: HealthCheck[] }> {
  const { status, checks } = await health.report();
  return {
    status: states[status] ?? "unhealthy",
    checks: checks.map((check) => healthCheck(check, states[check.status])),
  };
}

const states: Readonly<Record<number, HealthStatus>> = {
  [WireStatus.HEALTHY]: "healthy",
  [WireStatus.DEGRADED]: "degraded",
  [WireStatus.UNHEALTHY]: "unhealthy",
};
/** The worst of several states; healthy when there is none. */
export function worst(states: readonly HealthStatus[]): HealthStatus {
  return RANK[Math.max(0, ...states.map((state) => RANK.indexOf(state)))] ?? "unhealthy";
}

function brief({ name, status }: HealthCheck): HealthCheck {
  return { name, status };
}

function briefService({ service, status, replicas }: ServiceHealth): object {
  return { service, status, replicas: replicas.length };
}

/** Every service's health. One of which no replica answers is unhealthy; one with a replica that is not well, degraded. */
async function askMesh({ mesh, expected }: HealthDependencies): Promise<ServiceHealth[]> {
  const method = methodContract("warren.telemetry.v1.TelemetryService", "GetHealth");
  const answers = await mesh.gather(method, new Uint8Array()).catch(() => []);
  const replicas = answers.map((bytes) => bytesToJson(method.output, bytes) as unknown as WireHealth);
  const names = [...new Set([...expected, ...replicas.map((each) => each.service)])].sort();
  return names.map((service) => {
    const own = replicas.filter((each) => each.service === service).map(replicaHealth);
    const well = own.filter((each) => each.status !== "unhealthy");
    const status =
      well.length === 0 ? "unhealthy" : well.length < own.length ? "degraded" : worst(own.map((each) => each.status));
    return { service, status, replicas: own };
  });
}

/** warren.telemetry.v1.ServiceHealth as JSON. */
interface WireHealth {
  readonly service: string;
  readonly instanceId: string;
  readonly version: string;
  readonly status: string;
  readonly checks: readonly { name: string; status: string; message: string; durationMs: number }[];
}

function replicaHealth({ instanceId, version, status, checks }: WireHealth): ReplicaHealth {
  return {
    instanceId,
    version,
    status: fromWire(status),
    checks: checks.map((check) => healthCheck(check, fromWire(check.status))),
  };
}

function healthCheck(
  { name, message, durationMs }: { name: string; message: string; durationMs: number },
  status: HealthStatus = "unhealthy",
): HealthCheck {
  return { name, status, ...(message ? { message } : {}), durationMs };
}

function fromWire(status: string): HealthStatus {
  const found = RANK.find((each) => status === `HEALTH_STATUS_${each.toUpperCase()}`);
  return found ?? "unhealthy";
}

/** Asks once, however many want to know, and remembers the answer for a while. */
function remembered<T>(ask: () => Promise<T>, milliseconds: number): () => Promise<T> {
  let last: { answer: Promise<T>; until: number } | undefined;
  return () => {
    const now = performance.now();
    if (!last || last.until <= now) last = { answer: ask(), until: now + milliseconds };
    return last.answer;
  };
}
