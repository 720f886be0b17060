// A throwaway Redis Cluster: primaries on free ports of the loopback address, the slots divided among them.
import { mkdtempSync, mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { findServer, type ManagedProcess, startProcess, waitUntil } from "@warren/local-stack";
import { environment } from "./config.ts";

const PRIMARIES = 3;
const SLOTS = 16_384;
const READY_MS = 30_000;

/** One primary. */
export interface TestPrimary {
  readonly port: number;
  kill(): Promise<void>;
  /** Starts it again: without its keys, with its slots. */
  start(): Promise<void>;
}

/** A cluster that ends with its test. */
export interface TestRedisCluster {
  /** `redis+cluster://` with all members. */
  readonly url: string;
  readonly primaries: readonly TestPrimary[];
}

/** Sends one command to the server at a port of this machine. */
export type Send = (port: number, ...command: string[]) => Promise<unknown>;

/**
 * Starts a cluster of three primaries without replicas, and waits until it takes writes.
 * @param send By the client of the test.
 */
export async function startRedisCluster(t: Pick<TestContext, "after">, send: Send): Promise<TestRedisCluster> {
  const folder = mkdtempSync(join(tmpdir(), "warren-redis-cluster-"));
  const ports = await freePorts(2 * PRIMARIES);
  const members = Array.from({ length: PRIMARIES }, (_, i) => ({
    port: ports[2 * i] as number,
    busPort: ports[2 * i + 1] as number,
    dir: join(folder, String(i)),
  }));
  const running = new Map<number, ManagedProcess>();
  t.after(async () => {
    await Promise.all([...running.values()].map((server) => server.stop(2000)));
    rmSync(folder, { recursive: true, force: true });
  });
  const start = async ({ port, busPort, dir }: (typeof members)[number]): Promise<void> => {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const settings = { port, "cluster-port": busPort, bind: "127.0.0.1", dir, "cluster-enabled": "yes" };
    const more = { "cluster-node-timeout": 1000, appendonly: "no", save: "", daemonize: "no" };
    const args = Object.entries({ ...settings, ...more }).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const command = findServer("redis-server");
    running.set(port, await startProcess({ command, env: { PATH: environment()["PATH"] }, args, onLine: () => {} }));
    await waitUntil(`The server on ${port}`, READY_MS, () => send(port, "PING").catch(() => undefined));
  };
  await Promise.all(members.map(start));
  const [first] = members;
  for (const [i, { port }] of members.entries()) {
    const [from, to] = [Math.floor((i * SLOTS) / PRIMARIES), Math.floor(((i + 1) * SLOTS) / PRIMARIES) - 1];
    await send(port, "CLUSTER", "ADDSLOTSRANGE", String(from), String(to));
    await send(port, "CLUSTER", "SET-CONFIG-EPOCH", String(i + 1));
    if (first && i > 0) await send(port, "CLUSTER", "MEET", "127.0.0.1", String(first.port), String(first.busPort));
  }
  for (const { port } of members)
    await waitUntil(`The cluster as ${port} sees it`, READY_MS, async () => {
      const info = String(await send(port, "CLUSTER", "INFO"));
      return (info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${PRIMARIES}`)) || undefined;
    });
  return {
    url: `redis+cluster://${members.map(({ port }) => `127.0.0.1:${port}`).join(",")}`,
    primaries: members.map((member) => ({
      port: member.port,
      kill: async () => {
        const server = running.get(member.port);
        server?.kill("SIGKILL");
        await server?.ended;
      },
      start: () => start(member),
    })),
  };
}

/** All open at once, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const probes = await Promise.all(
    Array.from({ length: count }, async () => {
      const probe = createServer();
      await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
      return probe;
    }),
  );
  const ports = probes.map((probe) => (probe.address() as { port: number }).port);
  await Promise.all(probes.map((probe) => new Promise((resolve) => probe.close(resolve))));
  return ports;
}
