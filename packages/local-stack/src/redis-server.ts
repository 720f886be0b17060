// A redis-server of our own on a Unix socket: nothing else on the machine can reach it but this user.
import { createHash } from "node:crypto";
import { lstatSync, mkdirSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { environment } from "./config.ts";
import { findServer } from "./find-server.ts";
import { type ManagedProcess, startProcess } from "./managed-process.ts";
import { waitUntil } from "./wait-until.ts";

export interface RedisOptions {
  readonly dataDir: string;
  readonly onLine: (line: string) => void;
}

/** A running server. */
export interface RunningRedis {
  /** The path of its socket. */
  readonly path: string;
  readonly process: ManagedProcess;
}

const READY_MS = 10_000;
/** Longest path of a Unix socket that every system takes, in bytes. */
const LONGEST_SOCKET_PATH = 100;

/** Starts a server and waits until it answers. It keeps nothing on disk: limits are short-lived. */
export async function startRedisServer({ dataDir, onLine }: RedisOptions): Promise<RunningRedis> {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const path = socketPath(dataDir);
  const settings = {
    port: 0,
    unixsocket: path,
    unixsocketperm: 600,
    dir: dataDir,
    appendonly: "no",
    maxmemory: "256mb",
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const server = await startProcess({
    command: findServer("redis-server"),
    env: { PATH: environment()["PATH"] },
    args: [...args, "--save", "", "--maxmemory-policy", "volatile-ttl", "--daemonize", "no"],
    onLine,
  });
  let ended = false;
  void server.ended.then(() => (ended = true));
  await waitUntil("The start of redis-server", READY_MS, async () => {
    if (ended) throw new Error("redis-server ended at once: its lines above say why");
    return (await accepts(path)) || undefined;
  }).catch((error: unknown) => {
    // A server that nobody waits for any more must not stay behind.
    server.kill("SIGKILL");
    throw error;
  });
  return { path, process: server };
}

/** A socket in the data folder, or in a private temporary folder where the data folder's path is too long for one. */
function socketPath(dataDir: string): string {
  const near = join(dataDir, "redis.sock");
  if (Buffer.byteLength(near) <= LONGEST_SOCKET_PATH) return near;
  const folder = join(tmpdir(), `warren-${createHash("sha256").update(dataDir).digest("hex").slice(0, 16)}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // The name can be foretold, and anybody may make folders there: one that is not ours alone is not used.
  const { mode, uid } = lstatSync(folder);
  if ((mode & 0o170777) !== 0o040700 || uid !== process.getuid?.())
    throw new Error(`${folder} must be a folder of this user alone: remove it, or name a shorter WARREN_DATA_DIR`);
  return join(folder, "redis.sock");
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once("connect", () => resolve((socket.destroy(), true)));
    socket.once("error", () => resolve(false));
  });
}
