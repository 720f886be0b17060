// The nats-server of a suite: the mesh's own configuration, and one more account for the peers, in one process.
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findServer, meshCredentials, startProcess, waitUntil } from "@warren/local-stack";
import { natsServerConfig } from "@warren/mesh/policy";
import type { Target } from "./subject.ts";

const READY_MS = 20_000;
const ANY_PORT = -1;

/** A running server and what subjects need to reach it. */
export interface BenchNats {
  readonly target: Target;
  /** CPU time that the server has used so far, in microseconds; undefined where the system does not tell. */
  cpuMicros(): number | undefined;
  stop(): Promise<void>;
}

/** Starts a server in a folder of its own, which is gone when it is stopped. */
export async function startBenchNats(): Promise<BenchNats> {
  const folder = mkdtempSync(join(tmpdir(), "warren-bench-"));
  const portsDir = join(folder, "ports");
  mkdirSync(portsDir);
  const credentials = join(folder, "credentials");
  const { publicKeys } = meshCredentials(credentials);
  const peer = { user: "peer", password: randomBytes(18).toString("base64url") };
  const storeDir = join(folder, "jetstream");
  const config = JSON.parse(
    natsServerConfig({ host: "127.0.0.1", port: ANY_PORT, storeDir, publicKeys, portsDir }),
  ) as { accounts: Record<string, object> };
  config.accounts["PEERS"] = { users: [peer] };
  const file = join(folder, "nats-server.json");
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  const lines: string[] = [];
  const server = await startProcess({
    command: findServer("nats-server"),
    args: ["-c", file],
    env: { PATH: process.env["PATH"] },
    onLine: (line) => lines.push(line),
  });
  const stop = async (): Promise<void> => {
    await server.stop(2000);
    rmSync(folder, { recursive: true, force: true });
  };
  let ended = false;
  void server.ended.then(() => (ended = true));
  try {
    const natsUrl = await waitUntil("The start of nats-server", READY_MS, () => {
      if (ended) throw new Error(`nats-server ended at once: ${lines.slice(-5).join(" | ")}`);
      return readUrl(portsDir);
    });
    const target = { natsUrl, peer, credentials, address: undefined };
    return { target, cpuMicros: () => cpuMicrosOf(server.pid), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Linux counts in hundredths of a second, whatever its own clock's rate (`man 5 proc`: fields utime and stime). */
function cpuMicrosOf(pid: number): number | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ");
    return fields && (Number(fields[11]) + Number(fields[12])) * 10_000;
  } catch {
    return undefined;
  }
}

function readUrl(portsDir: string): string | undefined {
  const [file] = readdirSync(portsDir).filter((name) => name.endsWith(".ports"));
  if (!file) return undefined;
  try {
    const { nats } = JSON.parse(readFileSync(join(portsDir, file), "utf8")) as { nats: string[] };
    return nats[0];
  } catch {
    // The server is still writing it.
    return undefined;
  }
}
