// A nats-server of our own: generated configuration, every user with a key, JetStream in the data folder.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { natsServerConfig } from "@warren/mesh/policy";
import { environment } from "./config.ts";
import { findServer } from "./find-server.ts";
import { watchForFullDisk } from "./full-disk.ts";
import { type ManagedProcess, startProcess } from "./managed-process.ts";
import { leaveSharedAccount } from "./one-account.ts";
import { waitUntil } from "./wait-until.ts";

export interface NatsOptions {
  /** Its configuration and JetStream's files. */
  readonly dataDir: string;
  readonly publicKeys: Readonly<Record<string, string>>;
  /** The port it had before; absent: any free one. */
  readonly port?: number;
  readonly onLine: (line: string) => void;
  /** Somebody starts it again when it ends: it is ended when its disk, once full, has room again. */
  readonly supervised?: boolean;
}

/** A running server. */
export interface RunningNats {
  readonly url: string;
  readonly port: number;
  readonly process: ManagedProcess;
}

const READY_MS = 20_000;
const ANY_PORT = -1;

/** Starts a server and waits until it takes connections. */
export async function startNatsServer(options: NatsOptions): Promise<RunningNats> {
  const { dataDir, publicKeys } = options;
  const portsDir = join(dataDir, "ports");
  mkdirSync(portsDir, { recursive: true, mode: 0o700 });
  for (const stale of readdirSync(portsDir)) rmSync(join(portsDir, stale));
  const config = join(dataDir, "nats-server.json");
  const port = options.port ?? ANY_PORT;
  const storeDir = join(dataDir, "jetstream");
  leaveSharedAccount(storeDir);
  writeFileSync(config, natsServerConfig({ host: "127.0.0.1", port, storeDir, publicKeys, portsDir }), { mode: 0o600 });
  const lastLines: string[] = [];
  const disk = watchForFullDisk({
    folder: dataDir,
    restart: () => {
      options.onLine("The disk was full and has room again: nats-server is started again, or it would write no more");
      server.kill("SIGTERM");
    },
  });
  const server = await startProcess({
    command: findServer("nats-server"),
    env: { PATH: environment()["PATH"] },
    args: ["-c", config],
    onLine: (line) => {
      lastLines.push(line);
      lastLines.splice(0, lastLines.length - 5);
      options.onLine(line);
      if (options.supervised) disk.onLine(line);
    },
  });
  void server.ended.then(() => disk.stop());
  let ended = false;
  void server.ended.then(() => (ended = true));
  const found = await waitUntil("The start of nats-server", READY_MS, () => {
    if (ended) throw new Error(`nats-server ended at once: ${lastLines.join(" | ")}`);
    return readPort(portsDir);
  }).catch((error: unknown) => {
    // A server that nobody waits for any more must not stay behind.
    server.kill("SIGKILL");
    throw error;
  });
  return { url: `nats://127.0.0.1:${found}`, port: found, process: server };
}

function readPort(portsDir: string): number | undefined {
  const [file] = readdirSync(portsDir).filter((name) => name.endsWith(".ports"));
  if (!file) return undefined;
  try {
    const { nats } = JSON.parse(readFileSync(join(portsDir, file), "utf8")) as { nats: string[] };
    return Number(new URL(nats[0] ?? "").port);
  } catch {
    // The server is still writing it.
    return undefined;
  }
}
