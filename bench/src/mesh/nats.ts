// The nats-server of a suite: the mesh's own configuration, once for each mesh, and one more account for the peers, in one
// process. Meshes that shared accounts would answer each other's calls.
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findServer, meshCredentials, startProcess, waitUntil } from "@warren/local-stack";
import { natsServerConfig } from "@warren/mesh/policy";
import { cpuMicrosOf } from "../process-cpu.ts";
import type { Target } from "./subject.ts";

const READY_MS = 20_000;
const ANY_PORT = -1;

/** A running server and what subjects need to reach it. */
export interface BenchNats {
  /** What a subject needs: a mesh of its own where it was named at the start, else the peers' account. */
  targetOf(subject: string): Target;
  /** CPU time that the server has used so far, in microseconds; undefined where the system does not tell. */
  cpuMicros(): number | undefined;
  stop(): Promise<void>;
}

/** Starts a server in a folder of its own, which is gone when it is stopped. `meshes` names the subjects that are meshes. */
export async function startBenchNats(meshes: readonly string[]): Promise<BenchNats> {
  const folder = mkdtempSync(join(tmpdir(), "warren-bench-"));
  const portsDir = join(folder, "ports");
  mkdirSync(portsDir);
  const peer = { user: "peer", password: randomBytes(18).toString("base64url") };
  const folderOf = (subject: string): string => join(folder, `credentials-${Math.max(0, meshes.indexOf(subject))}`);
  const configs = meshes.map((mesh) => meshConfig(join(folder, "jetstream"), portsDir, folderOf(mesh)));
  const accounts = Object.assign({}, ...configs.map(({ accounts }, i) => renamed(accounts, `MESH_${i}_`))) as object;
  const config = { ...configs[0], accounts: { ...accounts, PEERS: { users: [peer] } } };
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
    const targetOf = (subject: string): Target => ({
      natsUrl,
      peer,
      credentials: folderOf(subject),
      address: undefined,
    });
    return { targetOf, cpuMicros: () => cpuMicrosOf(server.pid), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The configuration of one mesh, whose credentials are made in a folder. */
function meshConfig(storeDir: string, portsDir: string, credentials: string) {
  const { publicKeys } = meshCredentials(credentials);
  const text = natsServerConfig({ host: "127.0.0.1", port: ANY_PORT, storeDir, publicKeys, portsDir });
  return JSON.parse(text) as { readonly accounts: Readonly<Record<string, object>> };
}

/** Accounts under names of their own, also where they name each other: two meshes have accounts of the same names. */
function renamed(accounts: Readonly<Record<string, object>>, prefix: string): object {
  const names = new Set(Object.keys(accounts));
  const rename = (name: unknown): unknown => (typeof name === "string" && names.has(name) ? prefix + name : name);
  const text = JSON.stringify(accounts, (key, value: unknown) => {
    if (key === "account") return rename(value);
    return key === "accounts" && Array.isArray(value) ? value.map(rename) : value;
  });
  return Object.fromEntries(Object.entries(JSON.parse(text) as object).map(([name, of]) => [prefix + name, of]));
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
