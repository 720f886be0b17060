// One nats-server of a throwaway cluster: a process with its own folder, whose ports are found out at each start.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findServer, type ManagedProcess, startProcess, waitUntil } from "@warren/local-stack";
import { natsServerConfig, type NatsServerOptions } from "@warren/mesh/policy";
import { environment } from "./config.ts";

const READY_MS = 20_000;

/** A running server, and where it listens. */
export interface RunningNode {
  readonly process: ManagedProcess;
  readonly clientPort: number;
  /** 0 when it is no member of a cluster. */
  readonly clusterPort: number;
  /** Of its HTTP monitoring, on 127.0.0.1. */
  readonly monitorPort: number;
}

export interface NodeOptions extends Omit<NatsServerOptions, "host" | "storeDir" | "portsDir"> {
  readonly dataDir: string;
  /** The program. Default: the one that a local stack finds. */
  readonly binary?: string;
  /** Changes the configuration, JSON, before the server reads it. */
  readonly amend?: (config: string) => string;
}

/** Starts a server and waits until it listens. */
export async function startNode({ dataDir, binary, amend = same, ...options }: NodeOptions): Promise<RunningNode> {
  const portsDir = join(dataDir, "ports");
  rmSync(portsDir, { recursive: true, force: true });
  mkdirSync(portsDir, { recursive: true, mode: 0o700 });
  const config = join(dataDir, "nats-server.json");
  const storeDir = join(dataDir, "jetstream");
  const text = natsServerConfig({ ...options, host: "127.0.0.1", storeDir, portsDir });
  writeFileSync(config, amend(text), { mode: 0o600 });
  const lastLines: string[] = [];
  const server = await startProcess({
    command: binary ?? findServer("nats-server"),
    env: { PATH: environment()["PATH"] },
    args: ["-c", config, "-m", "-1"],
    onLine: (line) => {
      lastLines.push(line);
      lastLines.splice(0, lastLines.length - 5);
    },
  });
  let ended = false;
  void server.ended.then(() => (ended = true));
  try {
    const ports = await waitUntil("The start of nats-server", READY_MS, () => {
      if (ended) throw new Error(`nats-server ended at once: ${lastLines.join(" | ")}`);
      return readPorts(portsDir);
    });
    return { process: server, ...ports };
  } catch (error) {
    server.kill("SIGKILL");
    throw error;
  }
}

function same(config: string): string {
  return config;
}

/** The version of the nats-server that tests start: `2.10.19`. */
export function natsServerVersion(): string | undefined {
  return /\d+\.\d+\.\S+/.exec(execFileSync(findServer("nats-server"), ["--version"], { encoding: "utf8" }))?.[0];
}

/** Whether a server says that JetStream works: in a cluster of `size`, that it knows a leader and every member. */
export async function isReady({ monitorPort }: RunningNode, size: number): Promise<boolean> {
  try {
    const health = await fetch(`http://127.0.0.1:${monitorPort}/healthz`);
    if (health.status !== 200) return false;
    if (size === 1) return true;
    const { meta_cluster: meta } = (await (await fetch(`http://127.0.0.1:${monitorPort}/jsz`)).json()) as {
      meta_cluster?: { leader?: string; cluster_size?: number };
    };
    return Boolean(meta?.leader) && meta?.cluster_size === size;
  } catch {
    // It does not listen yet.
    return false;
  }
}

function readPorts(folder: string): Omit<RunningNode, "process"> | undefined {
  const [file] = readdirSync(folder).filter((name) => name.endsWith(".ports"));
  if (!file) return undefined;
  try {
    const found = JSON.parse(readFileSync(join(folder, file), "utf8")) as Record<string, string[] | undefined>;
    const portOf = (kind: string): number => Number(new URL(found[kind]?.[0] ?? "nats://none:0").port);
    const clientPort = portOf("nats");
    const monitorPort = portOf("monitoring");
    return clientPort && monitorPort ? { clientPort, monitorPort, clusterPort: portOf("cluster") } : undefined;
  } catch {
    // The server is still writing it.
    return undefined;
  }
}
