// The gateway, wired: what tests build, too.
import type { Server } from "node:http";
import { contractRoutes } from "./edge/routes.ts";
import { type Mesh, type MeshLog, statusName } from "@warren/mesh";
import { DecisionTrail, type Health, type Registry } from "@warren/service";
import { methods } from "@warren/contract";
import { Cluster, type Redis } from "ioredis";
import { type GatewayConfig, grpcPortOf } from "./config.ts";
import { Admission } from "./edge/admission.ts";
import { backendOf } from "./edge/backend.ts";
import { callFollower, followDecisions } from "./edge/decisions.ts";
import { serveHealth } from "./edge/health.ts";
import { hostCheck } from "./edge/host-check.ts";
import { Cancellations } from "./edge/mcp/cancellations.ts";
import { serveMcp } from "./edge/mcp/serve.ts";
import { createMetrics, type Metrics, serveMetrics } from "./edge/metrics.ts";
import { UnknownRoutes } from "./edge/not-found.ts";
import { serveOpenAi } from "./edge/openai/serve.ts";
import { serveOpenApi } from "./edge/openapi.ts";
import { serveLimits } from "./edge/limits.ts";
import { listenLocally, type LocalSocket } from "./edge/local-socket.ts";
import { servePackages } from "./edge/packages.ts";
import { problemOf } from "./edge/problem.ts";
import { RequestContexts } from "./edge/request-context.ts";
import { type RestDependencies, serveContract } from "./edge/rest.ts";
import { bounds, createServer } from "./edge/server.ts";
import { serveSessions } from "./edge/session.ts";
import { WebSocketStreams } from "./edge/websocket/streams.ts";
import { Upgrades } from "./edge/websocket/upgrades.ts";
import { EventHub } from "./events/hub.ts";
import { createGrpcServer, type GrpcPatience } from "./grpc/server.ts";
import { Assertions } from "./identity/assertions.ts";
import { ClientAddress } from "./identity/client-address.ts";
import { CredentialVerifier } from "./identity/credentials.ts";
import { DpopVerifier } from "./identity/dpop.ts";
import { JwtVerifier } from "./identity/jwt.ts";
import { KeyUse } from "./identity/key-use.ts";
import { LocalTrust, readLocalToken } from "./identity/local-trust.ts";
import { SessionVerifier } from "./identity/sessions.ts";
import { Authenticator } from "./identity/token.ts";
import { ProofMemory, SharedProofs } from "./identity/used-proofs.ts";
import { ClusterStore } from "./limits/cluster-store.ts";
import { type Limiter, memoryLimiter, RedisLimiter } from "./limits/limiter.ts";
import { LiveGateways } from "./limits/live-gateways.ts";
import type { Policy } from "./limits/policy.ts";
import { POLICY_KEY, PolicySource } from "./limits/policy-source.ts";
import { RedisStore } from "./limits/redis-store.ts";
import type { GatewayState } from "./state.ts";

/** What the gateway uses of the mesh. */
export type GatewayMesh = Pick<
  Mesh,
  | "call"
  | "stream"
  | "gather"
  | "assert"
  | "countReplicas"
  | "client"
  | "publish"
  | "subscribe"
  | "subscribePattern"
  | "onReconnect"
>;

export interface GatewayDependencies {
  readonly config: GatewayConfig;
  /** Limits that hold where file and mesh say nothing. Absent: the defaults. */
  readonly policy?: Policy;
  readonly mesh: GatewayMesh;
  readonly state: GatewayState;
  /** The gateway's own probes; it adds that of its limits. */
  readonly health: Pick<Health, "check" | "report" | "ready">;
  readonly log: MeshLog;
  /** A client made by `connectRedis`; absent: limits are counted in memory. */
  readonly redis: Redis | Cluster | undefined;
  /** Longest wait for a decision of Redis, in milliseconds; default 20. */
  readonly redisTimeoutMs?: number;
  /** The software's version. */
  readonly version: string;
  /** Names of the services that belong to a whole mesh. */
  readonly services: readonly string[];
  /** Time between two signs of life on a quiet stream, in milliseconds. */
  readonly heartbeatMs?: number;
  /** Longest time for a WebSocket's client to take one message, in milliseconds; default 30,000. */
  readonly sendTimeoutMs?: number;
  /** Time between two looks at the health for gRPC's watchers, in milliseconds; default 1,000. */
  readonly grpcHealthEveryMs?: number;
  /** How long the gRPC server keeps peers that do nothing. */
  readonly grpcPatience?: GrpcPatience;
  /** Longest time for the headers of a request, in milliseconds; default 10,000. */
  readonly headersTimeoutMs?: number;
  /** Time between two signs of life of a tool called over MCP, in milliseconds; default 5,000. */
  readonly mcpProgressMs?: number;
  /** Where everything is counted that `/metrics` shows; absent: a registry of the gateway's own. */
  readonly registry?: Registry;
  /** Where uploads are kept while they arrive. */
  readonly tempDir?: string;
}

/** A gateway that can listen. */
export interface Gateway {
  /** Listens; resolves with the address: `http://127.0.0.1:8080`. */
  listen(): Promise<string>;
  /** Listens for gRPC; resolves with the address: `127.0.0.1:8081`. */
  listenGrpc(): Promise<string>;
  /** Takes no new connections and lets what is in flight end; after `graceMs` it is cut. */
  drain(graceMs: number): Promise<void>;
  /** Lets go of Redis and of the mesh's state. */
  close(): void;
  readonly metrics: Metrics;
}

const HEARTBEAT_MS = 15_000;
const SEND_TIMEOUT_MS = 30_000;

/** Wires a gateway. */
export async function buildGateway(deps: GatewayDependencies): Promise<Gateway> {
  const { config, mesh, state, log, redis, version, services } = deps;
  const metrics = createMetrics(deps.registry);
  const source = new PolicySource({
    base: deps.policy,
    file: config.limitsFile,
    bucket: state.config,
    log,
    onReload: metrics.policyReload,
  });
  const gateways = new LiveGateways(
    () => mesh.countReplicas(),
    (count) => metrics.gateways.set(count),
  );
  const limiter = await openLimiter(deps, { metrics, source, gateways });
  const cancellations = new Cancellations(mesh);
  await cancellations.listen();
  const countLimits = (): void => metrics.limits(source.current.limits.map(({ name }) => name));
  countLimits();
  source.onChange(countLimits);
  source.onChange(() => limiter.changed());
  const local = new LocalTrust(config.localTokenFile === undefined ? undefined : readLocalToken(config.localTokenFile));
  const authenticator = new Authenticator({
    jwt: new JwtVerifier(state.keys),
    credentials: new CredentialVerifier(state.credentials),
    revocations: state.revocations,
    sessions: new SessionVerifier(state.sessions),
    dpop: new DpopVerifier({ used: redis === undefined ? new ProofMemory() : new SharedProofs(redis, log) }),
  });
  const trail = new DecisionTrail({ mesh, log });
  const keyUse = new KeyUse(mesh, log);
  const unwatch = [
    state.keys.onChange(() => authenticator.forget()),
    state.credentials.onChange(() => authenticator.forget()),
  ];
  deps.health.check("limits", () => {
    const degraded = limiter.degraded();
    return Promise.resolve(degraded === undefined ? undefined : { degraded });
  });

  const contexts = new RequestContexts((end) => metrics.ended(end));
  const unknown = new UnknownRoutes();
  const hosts = hostCheck(config);
  const admission = new Admission({
    contexts,
    unknown,
    limiter,
    authenticator,
    hosts,
    addresses: new ClientAddress(config.trustProxy),
    local,
    decided: metrics.decided,
    access: metrics.access,
  });
  const { headersTimeoutMs } = deps;
  const upgrades = new Upgrades();
  const active = metrics.active;
  const server = createServer({ config, hosts, contexts, admission, unknown, log, active, upgrades, headersTimeoutMs });
  const { app, stopping } = server;
  followDecisions(app, { admission, trail, keyUse });
  serveSessions(app, { mesh, admission, log, publicUrl: config.publicUrl });
  serveLimits(app, {
    source,
    limiter,
    gateways: () => gateways.count,
    store: {
      put: (policy) => state.configBucket.put(POLICY_KEY, policy),
      delete: () => state.configBucket.delete(POLICY_KEY),
    },
  });
  const routes = contractRoutes(methods.values());
  const assertions = new Assertions((caller) => mesh.assert(caller));
  const heartbeatMs = deps.heartbeatMs ?? HEARTBEAT_MS;
  const events = new EventHub({ mesh, inForce: (identity) => authenticator.inForce(identity) });
  const backend = backendOf(mesh, {
    "warren.gateway.v1.EventService/StreamEvents": (request, options) => events.stream(request, options),
  });
  const edge: RestDependencies = {
    mesh: backend,
    contexts,
    admission,
    assertions,
    problemOf: (thrown) => problemOf(thrown, (err) => log.error({ err }, "A stream failed")),
    heartbeatMs,
    stopping,
  };
  const webSockets = new WebSocketStreams({ ...edge, upgrades, sendTimeoutMs: deps.sendTimeoutMs ?? SEND_TIMEOUT_MS });
  serveContract(app, routes, { ...edge, webSockets });
  const { problemFor } = server;
  const draining = new AbortController();
  const mcp = serveMcp(app, {
    mesh,
    cancellations,
    plugins: state.plugins,
    contexts,
    admission,
    assertions,
    stopping,
    draining: draining.signal,
    heartbeatMs,
    problemFor,
    publicUrl: config.publicUrl,
    version,
    progressMs: deps.mcpProgressMs,
  });
  serveOpenAi(app, { mesh, admission, assertions, stopping, heartbeatMs, problemFor, tokens: metrics.tokens });
  servePackages(app, { packages: state.packages, tempDir: deps.tempDir });
  serveHealth(app, { mesh, admission, expected: services, health: deps.health });
  serveMetrics(app, metrics);
  serveOpenApi(app, routes, version);
  const followCall = callFollower({ admission, trail, keyUse });
  const grpc = createGrpcServer({
    ...config,
    port: grpcPortOf(config),
    methods: methods.values(),
    backend,
    admission,
    assertions,
    ready: () => deps.health.ready(),
    healthEveryMs: deps.grpcHealthEveryMs,
    patience: deps.grpcPatience,
    log,
    onEnd: (call) => {
      metrics.called(call.path, statusName(call.code), call.seconds);
      followCall(call);
    },
  });
  await app.ready();
  let socket: LocalSocket | undefined;

  return {
    metrics,
    listen: async () => {
      const address = await app.listen({ host: config.host, port: config.port });
      if (config.socket !== undefined) socket = await listenLocally(config.socket, app.server as Server, local, bounds);
      void gateways.refresh();
      return address;
    },
    listenGrpc: () => grpc.listen(),
    drain: async (graceMs) => {
      socket?.close();
      draining.abort();
      // Streams of events have no end to wait for.
      setTimeout(() => {
        events.stop();
        webSockets.stop();
      }, config.drainDelayMs);
      await Promise.all([server.stop(graceMs), grpc.stop(graceMs)]);
      await trail.close();
    },
    close: () => {
      events.close();
      limiter.close();
      source.close();
      gateways.close();
      keyUse.close();
      redis?.disconnect();
      for (const forget of unwatch) forget();
      mcp.close();
      const { keys, credentials, revocations, sessions, config: limits, plugins } = state;
      for (const watched of [keys, credentials, revocations, sessions, limits, plugins]) watched.close();
    },
  };
}

async function openLimiter(
  deps: GatewayDependencies,
  { metrics, source, gateways }: { metrics: Metrics; source: PolicySource; gateways: LiveGateways },
): Promise<Limiter> {
  const { redis, redisTimeoutMs: timeoutMs, log } = deps;
  const policy = (): Policy => source.current;
  if (redis === undefined) {
    metrics.limiterDegraded.set(1);
    log.warn({}, "WARREN_REDIS_URL is not set: limits are counted in this process's memory, for this gateway alone");
    return memoryLimiter(policy);
  }
  const store = new RedisStore(redis, { timeoutMs, onRoundTrip: metrics.roundTrip });
  const limiter = new RedisLimiter({
    policy,
    store: redis instanceof Cluster ? new ClusterStore(store) : store,
    log,
    onDegraded: (degraded) => metrics.limiterDegraded.set(degraded ? 1 : 0),
    onDecided: metrics.decidedBy,
    gateways: () => gateways.count,
  });
  redis.on("error", () => {
    // Told by the breaker, once, with what it means.
  });
  // A Redis that is not there yet does not keep the gateway from starting: the breaker looks for it.
  await redis
    .connect()
    .then(() => store.load())
    .catch((cause: unknown) => limiter.lost(cause));
  return limiter;
}
