// A whole mesh on one machine: nats-server, redis-server and the services, each a process of its own.
import { chmodSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { lockDataFolder } from "./data-lock.ts";
import { lookUp } from "./find-server.ts";
import { meshCredentials } from "./mesh-credentials.ts";
import { startNatsServer } from "./nats-server.ts";
import { startRedisServer } from "./redis-server.ts";
import { operatorTokenFile, serviceEnvironment } from "./service-environment.ts";
import { startServiceProcess } from "./service-process.ts";
import { Stages } from "./stages.ts";
import type { Supervised } from "./supervised.ts";

export interface LocalStackOptions {
  /** Where everything that lasts is kept; made at first, readable by its owner only. */
  readonly dataDir: string;
  /** 0: any free port. */
  readonly httpPort: number;
  /** Where gRPC is served; 0: any free port; absent: 8081, or any free port where `httpPort` is 0. */
  readonly grpcPort?: number | undefined;
  /** How many plugin hosts to run. */
  readonly pluginHosts: number;
  /** Takes each line of each process, with its name before it. */
  readonly log: (line: string) => void;
  /** The environment whose WARREN_* and OTEL_* settings the services get. */
  readonly env: NodeJS.ProcessEnv;
}

/** A mesh that runs. */
export interface LocalStack {
  /** Where the gateway listens. */
  readonly url: string;
  /** Where it serves gRPC: `127.0.0.1:8081`. */
  readonly grpcAddress: string;
  readonly operatorTokenFile: string;
  /** Stops everything in order; resolves when no process is left. */
  stop(): Promise<void>;
}

/** Starts a mesh; resolves when it answers. What ends by itself is started again. */
export async function startLocalStack(options: LocalStackOptions): Promise<LocalStack> {
  const dataDir = resolve(options.dataDir);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  chmodSync(dataDir, 0o700);
  const unlock = lockDataFolder(dataDir);
  const stages = new Stages({ log: options.log, tablePath: join(dataDir, "processes.json") });
  const stop = async (): Promise<void> => {
    await stages.stop();
    unlock();
  };
  try {
    const servers = await startServers(dataDir, stages, options.log);
    const addresses = await startServices({ ...options, dataDir }, stages, servers);
    return { ...addresses, operatorTokenFile: operatorTokenFile(dataDir), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Servers {
  readonly natsUrl: string;
  /** Undefined: there is no redis-server on this machine. */
  readonly redisPath: string | undefined;
  readonly credentialsOf: (service: string) => string;
}

async function startServers(dataDir: string, stages: Stages, log: (line: string) => void): Promise<Servers> {
  const credentials = meshCredentials(join(dataDir, "credentials"));
  const { publicKeys } = credentials;
  let nats: { url: string; port: number } | undefined;
  let redisPath: string | undefined;
  const servers = [
    stages.process("nats", async (onLine) => {
      // Started again, it takes the port that its clients know.
      const known = nats ? { port: nats.port } : {};
      const server = await startNatsServer({
        dataDir: join(dataDir, "nats"),
        publicKeys,
        onLine,
        supervised: true,
        ...known,
      });
      nats = server;
      return server.process;
    }),
  ];
  if (lookUp("redis-server"))
    servers.push(
      stages.process("redis", async (onLine) => {
        const server = await startRedisServer({ dataDir: join(dataDir, "redis"), onLine });
        redisPath = server.path;
        return server.process;
      }),
    );
  else log("redis-server is not installed: rate limits are kept in the gateway's memory");
  await stages.start([servers]);
  return { natsUrl: nats?.url ?? "", redisPath, credentialsOf: credentials.fileOf };
}

type Addresses = Pick<LocalStack, "url" | "grpcAddress">;

async function startServices(options: LocalStackOptions, stages: Stages, servers: Servers): Promise<Addresses> {
  const { dataDir, env: inherited, pluginHosts } = options;
  let { httpPort, grpcPort } = options;
  let url = "";
  let grpcAddress = "";
  const service = (name: string, index = 1): Supervised => {
    const instanceId = `${name}-${index}`;
    return stages.process(instanceId, async (onLine) => {
      const layout = { ...servers, dataDir, inherited, httpHost: "127.0.0.1", httpPort, grpcPort };
      const env = serviceEnvironment(layout, name, instanceId);
      const started = await startServiceProcess({ service: name, env, onLine });
      if (started.address && started.grpcAddress) {
        url = started.address;
        grpcAddress = started.grpcAddress;
        // Started again, the gateway takes the ports that its clients know.
        httpPort = Number(new URL(url).port);
        grpcPort = Number(grpcAddress.split(":").at(-1));
      }
      return started.process;
    });
  };
  const hosts = Array.from({ length: pluginHosts }, (_, i) => service("plugin-host", i + 1));
  await stages.start([[service("auth"), service("secrets")], hosts, [service("agent")], [service("gateway")]]);
  return { url, grpcAddress };
}
