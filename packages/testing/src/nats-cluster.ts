// Throwaway nats-servers in a cluster, with JetStream over all of them and the mesh's real permissions. Each direction
// between two of them goes through a link of its own, so that one can be cut off from the others and stay alive.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { meshCredentials, waitUntil } from "@warren/local-stack";
import { connectMesh, type Mesh, type MeshOptions, parseCredentials } from "@warren/mesh";
import type { NatsTls } from "@warren/mesh/policy";
import { type FaultyLink, openFaultyLink } from "./faulty-link.ts";
import { isReady, type RunningNode, startNode } from "./nats-node.ts";
import { silentLog } from "./nats.ts";

/** One server of a cluster. */
export interface TestNatsNode {
  readonly name: string;
  readonly url: string;
  pid(): number;
  /** Kills it with SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again on the same client port with the same data. */
  start(): Promise<void>;
  /** Parts it from the other servers. `broken`: connections end at once; `silent`: nothing arrives any more. */
  isolate(how: "broken" | "silent"): void;
  /** Ends the isolation. */
  rejoin(): void;
}

/** Servers that end with their test. */
export interface TestNatsCluster {
  readonly nodes: readonly TestNatsNode[];
  readonly urls: readonly string[];
  /** The credential file of a service. */
  credentialsFile(service: string): string;
  /** Joins the mesh as a service, at any server unless `servers` says which; leaves it when the test ends. */
  connect(service: string, options?: Partial<MeshOptions>): Promise<Mesh>;
  /** Makes everything between servers take so many milliseconds longer, each way. */
  delayRoutes(ms: number): void;
  /** Resolves when every server says that JetStream works and knows all others. */
  ready(): Promise<void>;
}

export interface TestClusterOptions {
  readonly tls?: NatsTls;
  /** The program of the servers. Default: the one that a local stack finds. */
  readonly binary?: string;
  /** Changes the servers' configuration, JSON: for users that no mesh has. */
  readonly amend?: (config: string) => string;
}

const READY_MS = 60_000;
/** Where nobody listens: servers find each other by their routes only, which go through the links. */
const NOWHERE = "127.0.0.1:1";

/** Starts `size` servers, a cluster if there are several, that end with the test. */
export async function startNatsCluster(
  t: Pick<TestContext, "after">,
  size: number,
  options: TestClusterOptions = {},
): Promise<TestNatsCluster> {
  const root = mkdtempSync(join(tmpdir(), "warren-nats-cluster-"));
  const credentials = meshCredentials(join(root, "credentials"));
  const secret = randomBytes(16).toString("hex");
  const indices = Array.from({ length: size }, (_, i) => i);
  const running = new Map<number, RunningNode>();
  const links = new Map<string, FaultyLink>();
  const meshes: Mesh[] = [];
  t.after(async () => {
    await Promise.allSettled(meshes.map((mesh) => mesh.close()));
    await Promise.all([...running.values()].map(({ process }) => end(process)));
    await Promise.all([...links.values()].map((link) => link.close()));
    rmSync(root, { recursive: true, force: true });
  });
  for (const from of indices)
    for (const to of indices) if (from !== to) links.set(`${from}>${to}`, await openFaultyLink());

  const linksOf = (index: number): FaultyLink[] =>
    [...links].filter(([ends]) => ends.split(">").includes(String(index))).map(([, link]) => link);
  const start = async (index: number): Promise<void> => {
    const others = indices.filter((each) => each !== index);
    const node = await startNode({
      dataDir: join(root, `node-${index}`),
      serverName: `node-${index}`,
      port: running.get(index)?.clientPort ?? -1,
      publicKeys: credentials.publicKeys,
      ...(options.binary ? { binary: options.binary } : {}),
      ...(options.amend ? { amend: options.amend } : {}),
      ...(options.tls ? { tls: options.tls } : {}),
      ...(size > 1
        ? {
            cluster: {
              name: "test",
              port: -1,
              secret,
              advertise: NOWHERE,
              routes: others.map((other) => `127.0.0.1:${links.get(`${index}>${other}`)?.port}`),
              ...(options.tls ? { tls: options.tls } : {}),
            },
          }
        : {}),
    });
    running.set(index, node);
    for (const other of others) links.get(`${other}>${index}`)?.aim(node.clusterPort);
  };
  await Promise.all(indices.map(start));

  const ready = async (): Promise<void> => {
    await waitUntil("A working cluster", READY_MS, async () => {
      const found = await Promise.all([...running.values()].map((node) => isReady(node, size)));
      return found.every(Boolean) ? true : undefined;
    });
  };
  await ready();
  const nodes = indices.map((index): TestNatsNode => {
    const now = (): RunningNode => running.get(index) as RunningNode;
    return {
      name: `node-${index}`,
      url: `nats://127.0.0.1:${now().clientPort}`,
      pid: () => now().process.pid,
      kill: () => end(now().process),
      start: () => start(index),
      isolate: (how) => linksOf(index).forEach((link) => (how === "broken" ? link.cut() : link.pause())),
      rejoin: () =>
        linksOf(index).forEach((link) => {
          link.mend();
          link.resume();
        }),
    };
  });
  const urls = nodes.map(({ url }) => url);
  return {
    nodes,
    urls,
    ready,
    delayRoutes: (ms) => [...links.values()].forEach((link) => link.delay(ms)),
    credentialsFile: credentials.fileOf,
    connect: async (service, more) => {
      const own = parseCredentials(readFileSync(credentials.fileOf(service), "utf8"));
      const replicas = Math.min(size, 3);
      const mesh = await connectMesh({ servers: urls, credentials: own, log: silentLog, replicas, ...more });
      meshes.push(mesh);
      return mesh;
    },
  };
}

async function end(process: RunningNode["process"]): Promise<void> {
  process.kill("SIGCONT");
  process.kill("SIGKILL");
  await process.ended;
}
