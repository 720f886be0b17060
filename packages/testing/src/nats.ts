// A throwaway nats-server with JetStream, the mesh's real permissions and a credential for every service.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { meshCredentials, startNatsServer } from "@warren/local-stack";
import { connectMesh, type Mesh, type MeshLog, type MeshOptions, parseCredentials } from "@warren/mesh";

/** A server that ends with its test. */
export interface TestNats {
  readonly url: string;
  /** Where JetStream keeps its files. */
  readonly dataDir: string;
  /** The credential file of a service. */
  credentialsFile(service: string): string;
  /** The seed of who may ask all services how they are. */
  readonly observerFile: string;
  /** Joins the mesh as a service; leaves it when the test ends. */
  connect(service: string, options?: Partial<MeshOptions>): Promise<Mesh>;
  /** Kills the server and starts it again on the same port with the same data. */
  restart(): Promise<void>;
  /** Kills the server. */
  kill(): Promise<void>;
  /** Starts a killed server. */
  start(): Promise<void>;
}

/** A log that keeps nothing. */
export const silentLog: MeshLog = { error: drop, warn: drop, info: drop, debug: drop };

function drop(): void {
  // Nobody reads it.
}

/** Starts a server that ends with the test. */
export async function startNats(t: Pick<TestContext, "after">): Promise<TestNats> {
  const dataDir = mkdtempSync(join(tmpdir(), "warren-nats-"));
  const credentials = meshCredentials(join(dataDir, "credentials"));
  const options = { dataDir: join(dataDir, "nats"), publicKeys: credentials.publicKeys, onLine: drop };
  let server = await startNatsServer(options);
  const meshes: Mesh[] = [];
  t.after(async () => {
    await Promise.allSettled(meshes.map((mesh) => mesh.close()));
    await server.process.stop(2000);
    rmSync(dataDir, { recursive: true, force: true });
  });
  const kill = async (): Promise<void> => {
    server.process.kill("SIGKILL");
    await server.process.ended;
  };
  const start = async (): Promise<void> => {
    server = await startNatsServer({ ...options, port: server.port });
  };
  return {
    url: server.url,
    dataDir: options.dataDir,
    credentialsFile: credentials.fileOf,
    observerFile: credentials.observerFile,
    kill,
    start,
    restart: async () => {
      await kill();
      await start();
    },
    connect: async (service, more) => {
      const own = parseCredentials(readFileSync(credentials.fileOf(service), "utf8"));
      const mesh = await connectMesh({ servers: [server.url], credentials: own, log: silentLog, ...more });
      meshes.push(mesh);
      return mesh;
    },
  };
}
