// A mesh whose every part can be hurt: each service reaches NATS, and the gateway Redis, through a link of its own; each
// process is started again when it ends, as a supervisor does in production.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type ManagedProcess,
  meshCredentials,
  operatorTokenFile,
  serviceEnvironment,
  startNatsServer,
  startRedisServer,
  startServiceProcess,
  Supervised,
} from "@warren/local-stack";
import { connectMesh, type Mesh, parseCredentials } from "@warren/mesh";
import { type FaultyLink, openFaultyLink, silentLog, waitUntil } from "@warren/testing";
import { environment } from "./config.ts";
import { mountDisk, type SmallDisk } from "./disk.ts";

export const SERVICES = ["auth", "secrets", "plugin-host", "agent", "gateway"] as const;
export type Service = (typeof SERVICES)[number];
/** A service or a server. */
export type Part = Service | "nats" | "redis";

const CLOCK = new URL("./shifted-clock.ts", import.meta.url).href;
const LIMITS = fileURLToPath(new URL("../../packages/testing/src/generous-limits.json", import.meta.url));
const STOP_MS = 20_000;

/** A mesh under our hands. */
export interface System {
  readonly url: string;
  /** The operator's token, and the file where it is. */
  readonly token: string;
  readonly tokenFile: string;
  /** What each process wrote, a line each with its name before it. */
  readonly lines: readonly string[];
  /** The way of a service to NATS, or of the gateway to Redis. */
  link(part: Service | "redis"): FaultyLink;
  pid(part: Part): number | undefined;
  /** Ends a process at once; resolves when another runs in its place. */
  kill(part: Part): Promise<void>;
  /** Moves the wall clock of a service by so many milliseconds. */
  moveClock(service: Service, byMs: number): void;
  /** NATS' disk; undefined where none could be mounted. */
  readonly disk: SmallDisk | undefined;
  /** A look at the mesh past all links, as the gateway may look. */
  readonly mesh: Mesh;
  stop(): Promise<void>;
}

/** Starts the mesh. */
export async function startSystem(): Promise<System> {
  const dataDir = mkdtempSync(join(tmpdir(), "warren-chaos-"));
  const lines: string[] = [];
  const closing: (() => Promise<void> | void)[] = [];
  const stop = async (): Promise<void> => {
    for (const close of closing.toReversed()) await close();
    rmSync(dataDir, { recursive: true, force: true });
  };
  try {
    return { ...(await build(dataDir, lines, closing)), lines, stop };
  } catch (error) {
    await stop();
    throw new Error(`The mesh did not start:\n${lines.slice(-20).join("\n")}`, { cause: error });
  }
}

async function build(
  dataDir: string,
  lines: string[],
  closing: (() => Promise<void> | void)[],
): Promise<Omit<System, "lines" | "stop">> {
  const credentials = meshCredentials(join(dataDir, "credentials"));
  const disk = mountDisk(join(dataDir, "nats"));
  if (disk) closing.push(() => disk.remove());
  const processes = new Map<Part, Supervised>();
  const supervise = async (part: Part, start: () => Promise<ManagedProcess>): Promise<void> => {
    const say = (text: string): void => void lines.push(`${part} | ${text}`);
    const process = new Supervised({ name: part, start, say });
    processes.set(part, process);
    closing.push(async () => {
      const { pid } = process;
      // One that is paused could not be asked to stop.
      if (pid !== undefined) globalThis.process.kill(pid, "SIGCONT");
      await process.stop(STOP_MS);
    });
    await process.start();
  };
  const onLine =
    (part: Part) =>
    (line: string): void =>
      void lines.push(`${part} | ${line}`);

  const known: { natsPort?: number } = {};
  const { publicKeys } = credentials;
  await supervise("nats", async () => {
    const port = known.natsPort === undefined ? {} : { port: known.natsPort };
    const server = await startNatsServer({
      dataDir: join(dataDir, "nats"),
      publicKeys,
      onLine: onLine("nats"),
      supervised: true,
      ...port,
    });
    known.natsPort = server.port;
    return server.process;
  });
  const natsPort = known.natsPort ?? 0;
  const redisDir = join(dataDir, "redis");
  const redis = { path: "" };
  await supervise("redis", async () => {
    const server = await startRedisServer({ dataDir: redisDir, onLine: onLine("redis") });
    redis.path = server.path;
    return server.process;
  });

  const links = new Map<Service | "redis", FaultyLink>();
  for (const part of [...SERVICES, "redis"] as const) {
    const link = await openFaultyLink(part === "redis" ? redis.path : natsPort);
    links.set(part, link);
    closing.push(() => link.close());
  }
  const link = (part: Service | "redis"): FaultyLink => links.get(part) as FaultyLink;
  const clocks = join(dataDir, "clocks");
  mkdirSync(clocks);
  const gateway = { url: "", port: 0 };
  const start = (service: Service): Promise<void> =>
    supervise(service, async () => {
      const layout = {
        dataDir,
        natsUrl: `nats://127.0.0.1:${link(service).port}`,
        redisPath: undefined,
        httpHost: "127.0.0.1",
        httpPort: gateway.port,
        credentialsOf: credentials.fileOf,
        inherited: environment(),
      };
      const env = {
        ...serviceEnvironment(layout, service, `${service}-1`),
        WARREN_LIMITS_FILE: LIMITS,
        ...(service === "gateway" ? { WARREN_REDIS_URL: `redis://127.0.0.1:${link("redis").port}` } : {}),
        NODE_OPTIONS: `--import=${CLOCK}`,
        CHAOS_CLOCK_FILE: join(clocks, service),
      };
      const started = await startServiceProcess({ service, env, onLine: onLine(service) });
      if (started.address) {
        gateway.url = started.address;
        gateway.port = Number(new URL(started.address).port);
      }
      return started.process;
    });
  await Promise.all([start("auth"), start("secrets")]);
  await Promise.all([start("plugin-host"), start("agent")]);
  await start("gateway");

  const mesh = await connectMesh({
    servers: [`nats://127.0.0.1:${natsPort}`],
    credentials: parseCredentials(readFileSync(credentials.fileOf("gateway"), "utf8")),
    log: silentLog,
  });
  closing.push(() => mesh.close());
  return {
    url: gateway.url,
    token: readFileSync(operatorTokenFile(dataDir), "utf8").trim(),
    tokenFile: operatorTokenFile(dataDir),
    link,
    disk,
    mesh,
    pid: (part) => processes.get(part)?.pid,
    kill: async (part) => {
      const process = processes.get(part);
      const before = process?.pid;
      if (before === undefined) throw new Error(`${part} does not run`);
      globalThis.process.kill(before, "SIGKILL");
      await waitUntil(`another ${part}`, 60_000, () =>
        process?.pid !== undefined && process.pid !== before ? true : undefined,
      );
    },
    moveClock: (service, byMs) => writeFileSync(join(clocks, service), String(byMs)),
  };
}
