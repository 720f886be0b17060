// The gRPC server: the contract's public methods, health and reflection, its bounds, and its orderly end.
import { once } from "node:events";
import { createServer, type Server as TcpServer, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { type ConnectionInjector, Server, ServerCredentials, type StatusObject } from "@grpc/grpc-js";
import type { MethodContract } from "@warren/contract";
import { type MeshLog, RpcError, StatusCode } from "@warren/mesh";
import type { Admission } from "../edge/admission.ts";
import type { Backend } from "../edge/backend.ts";
import { BODY_LIMIT } from "../edge/json-body.ts";
import { unavailable } from "../edge/problem.ts";
import { policyOf, publicMethods, type RoutePolicy } from "../edge/routes.ts";
import type { Assertions } from "../identity/assertions.ts";
import { PUBLIC_SCOPE } from "../identity/authorize.ts";
import { contractMethod, type ServedMethod } from "./contract.ts";
import { healthMethods } from "./health.ts";
import { Doorkeeper, type EndedCall } from "./interceptor.ts";
import { reflectionMethods } from "./reflection.ts";
import { rpcErrorOf, statusOf } from "./status.ts";

export interface GrpcDependencies {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly maxConnections: number;
  /** Time between not ready and the end of accepting, in milliseconds. */
  readonly drainDelayMs: number;
  readonly methods: Iterable<MethodContract>;
  readonly backend: Backend;
  readonly admission: Pick<Admission, "enter" | "counts" | "used">;
  readonly assertions: Assertions;
  readonly ready: () => Promise<boolean>;
  readonly log: MeshLog;
  readonly onEnd: (end: EndedCall) => void;
  /** Time between two looks at the health for watchers, in milliseconds; default 1,000. */
  readonly healthEveryMs?: number | undefined;
  /** How long peers that do nothing are kept. Default: {@link PATIENCE}. */
  readonly patience?: GrpcPatience | undefined;
}

/** How long peers that do nothing are kept, in milliseconds. */
export interface GrpcPatience {
  /** After so long without a word a peer is asked whether it is there. */
  readonly silenceMs: number;
  /** And cut when it has not answered in this time: it is gone, or never spoke HTTP/2. */
  readonly answerMs: number;
  /** Longest wait for the first message of a call. */
  readonly firstMessageMs: number;
}

/** A gRPC server that can listen. */
export interface GrpcServer {
  /** Listens; resolves with the address: `127.0.0.1:8081`. */
  listen(): Promise<string>;
  /** Takes no new connections and calls, and waits for those in flight; after `graceMs` they are cut. */
  stop(graceMs: number): Promise<void>;
}

const bounds = {
  "grpc.max_receive_message_length": BODY_LIMIT,
  "grpc.max_concurrent_streams": 128,
  "grpc.max_connection_idle_ms": 300_000,
  "grpc.enable_channelz": 0,
};
const PATIENCE: GrpcPatience = { silenceMs: 30_000, answerMs: 10_000, firstMessageMs: 30_000 };
/** Time for cut calls to send their last words, in milliseconds. */
const LAST_WORDS_MS = 500;

/** Makes the server. */
export function createGrpcServer(deps: GrpcDependencies): GrpcServer {
  const draining = new AbortController();
  const stopping = new AbortController();
  const tell = (thrown: unknown, requestId: string): StatusObject => {
    const cut = stopping.signal.aborted && (thrown as { name?: string }).name === "AbortError";
    const cancelled = stopping.signal.aborted && thrown instanceof RpcError && thrown.code === StatusCode.CANCELLED;
    const told = cut || cancelled ? unavailable("The gateway is stopping", 1, "STOPPING") : thrown;
    return statusOf(rpcErrorOf(told, (err) => deps.log.error({ err, requestId }, "A gRPC call failed")));
  };
  const policies = new Map<string, RoutePolicy>();
  const { silenceMs, answerMs, firstMessageMs } = deps.patience ?? PATIENCE;
  const { admission: door, onEnd } = deps;
  const doorkeeper = new Doorkeeper({ admission: door, policies, statusOf: tell, onEnd, firstMessageMs });
  const server = new Server({
    ...bounds,
    "grpc.keepalive_time_ms": silenceMs,
    "grpc.keepalive_timeout_ms": answerMs,
    interceptors: [doorkeeper.interceptor],
  });
  const add = ({ definition, handler }: ServedMethod, policy: RoutePolicy): void => {
    policies.set(definition.path, policy);
    server.addService({ method: definition }, { method: handler });
  };

  const offered = publicMethods(deps.methods);
  const services = new Set(offered.map((method) => method.service));
  for (const method of offered) {
    const { backend, assertions, admission } = deps;
    const behind = { backend, assertions, admission, statusOf: tell, stopping: stopping.signal };
    add(contractMethod(method, { ...behind, entered: (call) => doorkeeper.of(call.metadata) }), policyOf(method));
  }
  const { ready, healthEveryMs: lookEveryMs = 1_000 } = deps;
  const health = healthMethods({ services, ready, lookEveryMs, draining: draining.signal });
  for (const each of health) add(each, standard(each, { unlimited: true }));
  const names = [...offered.map((method) => method.path), ...health.map(({ definition }) => definition.path.slice(1))];
  const reflection = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
  for (const each of reflectionMethods(new Set([...names, reflection]))) add(each, standard(each));

  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    inject(injector, socket);
  });
  listener.maxConnections = deps.maxConnections;
  return {
    listen: () => listen(listener, deps),
    stop: async (graceMs) => {
      // Watchers learn of it while their connection is still there.
      draining.abort();
      await pause(deps.drainDelayMs);
      await close({ server, listener, sockets, stopping }, graceMs);
    },
  };
}

/** Of the standard services: whoever reaches the port may ask. */
function standard({ definition }: ServedMethod, more: Partial<RoutePolicy> = {}): RoutePolicy {
  return { template: definition.path.slice(1), scope: PUBLIC_SCOPE, limitClass: "", ...more };
}

function inject(injector: ConnectionInjector, socket: Socket): void {
  socket.setNoDelay(true);
  // A connection that breaks is the session's business.
  socket.on("error", () => socket.destroy());
  injector.injectConnection(socket);
}

async function listen(listener: TcpServer, { host, port }: GrpcDependencies): Promise<string> {
  listener.listen({ host, port });
  try {
    await once(listener, "listening");
  } catch (cause) {
    throw new Error(`The gRPC server cannot listen on ${host}:${port}: set WARREN_GRPC_PORT to a port that is free`, {
      cause,
    });
  }
  const address = listener.address();
  const bound = typeof address === "object" && address ? address.port : port;
  return `${host.includes(":") ? `[${host}]` : host}:${bound}`;
}

interface Parts {
  readonly server: Server;
  readonly listener: TcpServer;
  readonly sockets: ReadonlySet<Socket>;
  readonly stopping: AbortController;
}

async function close({ server, listener, sockets, stopping }: Parts, graceMs: number): Promise<void> {
  // The library's own word comes too early: it takes a session that is closing for one that is closed.
  const closed = new Promise<void>((resolve) => listener.close(() => resolve()));
  const cut = setTimeout(() => stopping.abort(), graceMs);
  const end = setTimeout(() => {
    server.forceShutdown();
    for (const socket of sockets) socket.destroy();
  }, graceMs + LAST_WORDS_MS);
  server.tryShutdown(() => undefined);
  try {
    await closed;
  } finally {
    clearTimeout(cut);
    clearTimeout(end);
  }
}
