// A whole mesh on one machine: nats-server, redis-server and the services, each a process of its own.
import { chmodSync, mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { lockDataFolder } from "./data-lock.ts";
import type { ManagedProcess } from "./managed-process.ts";
import { meshCredentials } from "./mesh-credentials.ts";
import { startNatsServer } from "./nats-server.ts";
import { startRedisServer } from "./redis-server.ts";
import { operatorTokenFile, serviceEnvironment, type StackLayout } from "./service-environment.ts";
import { startServiceProcess } from "./service-process.ts";
import { Supervised } from "./supervised.ts";

export interface LocalStackOptions {
  /** Where everything that lasts is kept; made at first, readable by its owner only. */
  readonly dataDir: string;
  /** 0: any free port. */
  readonly httpPort: number;
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
  readonly operatorTokenFile: string;
  /** Process ids by name (`plugin-host-2`), of what runs now. */
  pids(): Record<string, number>;
  /** Stops everything in order; resolves when no process is left. */
  stop(): Promise<void>;
}

const STOP_GRACE_MS = 40_000;
const NAME_WIDTH = 13;

/** Starts a mesh; resolves when it answers. What ends by itself is started again. */
export async function startLocalStack(options: LocalStackOptions): Promise<LocalStack> {
  const dataDir = resolve(options.dataDir);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  chmodSync(dataDir, 0o700);
  const unlock = lockDataFolder(dataDir);
  const stages: Supervised[][] = [];
  const stop = async (): Promise<void> => {
    for (const stage of stages.toReversed()) await Promise.all(stage.map((each) => each.stop(STOP_GRACE_MS)));
    unlock();
  };
  try {
    const url = await startStages({ ...options, dataDir }, stages);
    const pids = (): Record<string, number> =>
      Object.fromEntries(stages.flat().flatMap(({ name, pid }) => (pid === undefined ? [] : [[name, pid]])));
    return { url, operatorTokenFile: operatorTokenFile(dataDir), pids, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Starts what others need first; the stages stop in the reverse order. Returns the gateway's address. */
async function startStages(options: LocalStackOptions, stages: Supervised[][]): Promise<string> {
  const { dataDir } = options;
  const credentials = meshCredentials(`${dataDir}/credentials`);
  const nats = { url: "", port: undefined as number | undefined };
  const redis = { path: "" };
  await startTogether(stages, [
    [
      supervise(options, "nats", async (onLine) => {
        const known = nats.port === undefined ? {} : { port: nats.port };
        const server = await startNatsServer({
          dataDir: `${dataDir}/nats`,
          publicKeys: credentials.publicKeys,
          onLine,
          ...known,
        });
        Object.assign(nats, { url: server.url, port: server.port });
        return server.process;
      }),
      supervise(options, "redis", async (onLine) => {
        const server = await startRedisServer({ dataDir: `${dataDir}/redis`, onLine });
        redis.path = server.path;
        return server.process;
      }),
    ],
  ]);
  const gateway = { address: "", port: options.httpPort };
  const layout = (): StackLayout => ({
    dataDir,
    natsUrl: nats.url,
    redisPath: redis.path,
    httpHost: "127.0.0.1",
    httpPort: gateway.port,
    credentialsOf: credentials.fileOf,
    inherited: options.env,
  });
  const service = (name: string, instanceId: string): Supervised =>
    supervise(options, instanceId, async (onLine) => {
      const env = serviceEnvironment(layout(), name, instanceId);
      const started = await startServiceProcess({ service: name, env, onLine });
      // A gateway that is started again takes the port that its clients know.
      if (started.address)
        Object.assign(gateway, { address: started.address, port: Number(new URL(started.address).port) });
      return started.process;
    });
  const hosts = Array.from({ length: options.pluginHosts }, (_, i) => service("plugin-host", `plugin-host-${i + 1}`));
  // Whoever calls stops before whom it calls.
  await startTogether(stages, [
    [service("auth", "auth-1"), service("secrets", "secrets-1")],
    hosts,
    [service("agent", "agent-1")],
    [service("gateway", "gateway-1")],
  ]);
  return gateway.address;
}

/** Starts every process of these stages at once; they stop stage by stage, the last first. */
async function startTogether(stages: Supervised[][], together: Supervised[][]): Promise<void> {
  stages.push(...together);
  const results = await Promise.allSettled(together.flat().map((each) => each.start()));
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
}

function supervise(
  { log }: LocalStackOptions,
  name: string,
  start: (onLine: (line: string) => void) => Promise<ManagedProcess>,
): Supervised {
  const say = (text: string): void => log(`${name.padEnd(NAME_WIDTH)} | ${text}`);
  return new Supervised({ name, start: () => start(say), say });
}
