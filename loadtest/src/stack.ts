// A mesh of our own to put load on: started as its user starts it, by the command, in a folder that goes with it.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const OPEN_LIMITS = fileURLToPath(new URL("../open-limits.json", import.meta.url));
const START_MS = 120_000;
const STOP_MS = 60_000;

/** A plugin host beside those that the mesh has by itself. */
export interface ExtraHost {
  readonly ready: Promise<void>;
  /** Asks it to leave in order; resolves when it is gone. */
  leave(): Promise<void>;
}

export interface Stack {
  readonly url: string;
  readonly token: string;
  /** Where its gateway serves gRPC, if it does. */
  readonly grpcAddress: string;
  addPluginHost(instanceId: string): ExtraHost;
  /** Resident memory of each of its processes by name, in bytes. */
  memory(): Readonly<Record<string, number>>;
  stop(): Promise<void>;
}

/** Starts a mesh on free ports. `policy`: with the limits that it has by default. */
export async function startStack(limits: "open" | "policy"): Promise<Stack> {
  const dataDir = mkdtempSync(join(tmpdir(), "warren-load-"));
  const grpcPort = await freePort();
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    WARREN_DATA_DIR: dataDir,
    WARREN_HTTP_PORT: "0",
    WARREN_GRPC_PORT: String(grpcPort),
    WARREN_PLUGIN_HOSTS: "1",
    // Clients of many addresses are played by one: the gateway believes who forwards for them.
    WARREN_HTTP_TRUST_PROXY: "127.0.0.1",
    WARREN_LOG_LEVEL: "warn",
    // As in production: one trace in a hundred.
    OTEL_TRACES_SAMPLER_ARG: process.env["OTEL_TRACES_SAMPLER_ARG"] ?? "0.01",
    XDG_CONFIG_HOME: join(dataDir, "xdg"),
    NO_COLOR: "1",
    ...(limits === "open" ? { WARREN_LIMITS_FILE: OPEN_LIMITS } : {}),
  };
  if (limits === "policy") delete env["WARREN_LIMITS_FILE"];
  const hosts = new Set<ChildProcess>();
  const up = spawn(process.execPath, [join(ROOT, "cli/src/main.ts"), "up", "--json"], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  up.stderr.on("data", (chunk: Buffer) => {
    lines.push(...chunk.toString().split("\n"));
    lines.splice(0, lines.length - 40);
  });
  const stop = async (): Promise<void> => {
    await Promise.all([...hosts, up].map((child) => end(child, STOP_MS)));
    rmSync(dataDir, { recursive: true, force: true });
  };
  try {
    const { url, operatorTokenFile } = await announced(up, lines);
    return {
      url,
      token: readFileSync(operatorTokenFile, "utf8").trim(),
      grpcAddress: `127.0.0.1:${grpcPort}`,
      addPluginHost: (instanceId) => {
        const child = startPluginHost(dataDir, env, instanceId);
        hosts.add(child.process);
        return { ready: child.ready, leave: () => end(child.process, STOP_MS) };
      },
      memory: () => memoryOf(dataDir),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** As an operator would on another machine: the service's program, NATS' address, its credential. */
function startPluginHost(
  dataDir: string,
  env: NodeJS.ProcessEnv,
  instanceId: string,
): { process: ChildProcess; ready: Promise<void> } {
  const portsDir = join(dataDir, "nats", "ports");
  const [ports = ""] = readdirSync(portsDir);
  const { nats } = JSON.parse(readFileSync(join(portsDir, ports), "utf8")) as { nats: string[] };
  const child = spawn(process.execPath, [join(ROOT, "services/plugin-host/src/main.ts")], {
    env: {
      ...env,
      WARREN_NATS_URL: `nats://127.0.0.1:${new URL(nats[0] ?? "").port}`,
      WARREN_MESH_CREDENTIALS: join(dataDir, "credentials", "plugin-host.json"),
      WARREN_INSTANCE_ID: instanceId,
      WARREN_PLUGIN_STORE_DIR: join(dataDir, "plugins"),
    },
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const ready = new Promise<void>((resolve, reject) => {
    child.on("message", (message) => {
      if ((message as { type?: string }).type === "ready") resolve();
    });
    child.once("exit", (code) => reject(new Error(`the plugin host ${instanceId} ended with code ${code}`)));
  });
  // Whoever waits is told; nobody has to wait.
  ready.catch(() => undefined);
  return { process: child, ready };
}

async function announced(
  up: ChildProcess,
  lines: readonly string[],
): Promise<{ url: string; operatorTokenFile: string }> {
  let stdout = "";
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`the mesh did not start:\n${lines.join("\n")}`)), START_MS);
    up.stdout?.on("data", (chunk: Buffer) => {
      stdout += chunk.toString();
      try {
        resolve(JSON.parse(stdout) as { url: string; operatorTokenFile: string });
        clearTimeout(late);
      } catch {
        // Not all of it is there yet.
      }
    });
    up.once("exit", () => reject(new Error(`the mesh ended at once:\n${lines.join("\n")}`)));
  });
}

async function end(child: ChildProcess, graceMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const force = setTimeout(() => child.kill("SIGKILL"), graceMs);
  await ended;
  clearTimeout(force);
}

function memoryOf(dataDir: string): Record<string, number> {
  const pids = JSON.parse(readFileSync(join(dataDir, "processes.json"), "utf8")) as Record<string, number>;
  return Object.fromEntries(
    Object.entries(pids).map(([name, pid]) => {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      return [name, Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024];
    }),
  );
}

/** A port that was free a moment ago: the gateway's gRPC address must be known before it listens. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
