// A throwaway redis-server.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { startRedisServer } from "@warren/local-stack";

/** A server that ends with its test. */
export interface TestRedis {
  /** The path of its Unix socket. */
  readonly path: string;
  /** Its process id, for SIGSTOP and SIGCONT. */
  pid(): number;
  kill(): Promise<void>;
  /** Starts a killed server, empty. */
  start(): Promise<void>;
}

/** Starts a server that ends with the test. */
export async function startRedis(t: Pick<TestContext, "after">): Promise<TestRedis> {
  const dataDir = mkdtempSync(join(tmpdir(), "warren-redis-"));
  const options = { dataDir, onLine: () => undefined };
  let server = await startRedisServer(options);
  t.after(async () => {
    server.process.kill("SIGCONT");
    await server.process.stop(2000);
    rmSync(dataDir, { recursive: true, force: true });
  });
  return {
    path: server.path,
    pid: () => server.process.pid,
    kill: async () => {
      server.process.kill("SIGKILL");
      await server.process.ended;
    },
    start: async () => {
      server = await startRedisServer(options);
    },
  };
}
