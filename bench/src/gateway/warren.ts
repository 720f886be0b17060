// Warren's gateway, wired as its process wires it, and an agent behind it that answers what it was told.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { methodContract } from "@warren/contract";
import { buildGateway } from "@warren/gateway/app";
import { gatewayConfig } from "@warren/gateway/config";
import { connectRedis, parsePolicy, type Policy } from "@warren/gateway/limits";
import { openState } from "@warren/gateway/state";
import { connectMesh, type Handlers, type Mesh, type MeshLog, parseCredentials } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { Health, startTelemetry } from "@warren/service";
import type { Subject, Target } from "./subject.ts";

/** What of the gateway is on. */
export interface Parts {
  readonly token: boolean;
  /** `asked`: those of an address and a caller are asked of Redis for each request, as small quotas are. */
  readonly limits: boolean | "asked";
  readonly tracing: boolean;
}

/** Limits of the default policy's shape that nobody reaches. */
function policyOf({ limits }: Parts): Policy {
  const own = { algorithm: "window", limit: 1_000_000_000, period: 60, lease: limits !== "asked" } as const;
  return parsePolicy({
    limits: limits
      ? [
          { name: "global", algorithm: "bucket", key: "global", limit: 1_000_000, period: 1 },
          { name: "ip", key: "ip", ...own },
          { name: "principal", key: "principal", ...own },
        ]
      : [],
  });
}
const log: MeshLog = { error: fail, warn: fail, info: ignore, debug: ignore };

/** Warren with these parts. */
export function warren(parts: Parts): Subject {
  return {
    back: async (target) => {
      const mesh = await join_("agent", target, parts);
      const { chat, ...others } = methodsOf(AgentServiceDefinition.methods);
      await mesh.serve(AgentServiceDefinition, { ...others, chat } as unknown as Handlers<
        typeof AgentServiceDefinition
      >);
      return undefined;
    },
    front: async (target) => {
      const mesh = await join_("gateway", target, parts);
      const redis = parts.limits ? connectRedis(`unix://${target.redisPath}`) : undefined;
      const gateway = await buildGateway({
        config: gatewayConfig.parse({ port: 0 }),
        policy: policyOf(parts),
        mesh,
        state: await openState(mesh),
        health: new Health(),
        // Without Redis it says so: here that is what is meant.
        log: parts.limits ? log : { ...log, warn: ignore },
        redis,
        // A shared machine may stop for longer than a gateway would wait.
        redisTimeoutMs: 5000,
        version: "0.0.0",
        services: [],
      });
      return gateway.listen();
    },
  };
}

async function join_(service: string, target: Target, { token, tracing }: Parts): Promise<Mesh> {
  // A method that asks for no token, at both ends.
  if (!token) Object.assign(methodContract(AgentServiceDefinition.fullName, "Chat"), { scope: "public" });
  if (!token) Object.assign(methodContract(AgentServiceDefinition.fullName, "StreamChat"), { scope: "public" });
  if (tracing) await startTelemetry({ service, instanceId: `${process.pid}`, version: "0.0.0", env: {} });
  const credentials = parseCredentials(readFileSync(join(target.credentials, `${service}.json`), "utf8"));
  return connectMesh({ servers: [target.natsUrl], credentials, log, connectTimeoutMs: 60_000 });
}

function methodsOf(methods: object): Record<string, unknown> {
  const missing = (): Promise<never> => Promise.reject(new Error("The benchmark does not call this"));
  const all = Object.fromEntries(Object.keys(methods).map((name) => [name, missing]));
  return { ...all, chat: ({ message }: { message: string }) => Promise.resolve({ message }) };
}

function fail(fields: object, message: string): void {
  console.error(`The gateway or its mesh reports: ${message}`, fields);
  process.exit(1);
}

function ignore(): void {
  // Nothing of it matters here.
}
