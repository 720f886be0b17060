import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { startNats, type TestNats } from "@warren/testing";
import { send } from "./support.ts";

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));

/** What a gateway's start and end take at most, also where much else runs; a test that waits for more says so and ends it. */
const timeout = 120_000;

interface Started {
  readonly child: ChildProcess;
  readonly output: () => string;
  /** Its word that it is ready. Rejects with its output when it ends before. */
  readonly ready: Promise<Ready>;
  /** Its exit code, once all of its output has come. Listened to from the start: an end is never missed. */
  readonly ended: Promise<number | null>;
}

interface Ready {
  readonly type: string;
  readonly address: string;
  readonly grpcAddress: string;
}

function start(t: TestContext, nats: TestNats, more: Record<string, string> = {}): Started {
  const env = {
    PATH: process.env["PATH"],
    WARREN_NATS_URL: nats.url,
    WARREN_MESH_CREDENTIALS: nats.credentialsFile("gateway"),
    WARREN_HTTP_PORT: "0",
    ...more,
  };
  const child = spawn(process.execPath, [main], { env, stdio: ["ignore", "pipe", "pipe", "ipc"] });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const ready = new Promise<Ready>((resolve, reject) => {
    child.once("message", (message) => resolve(message as Ready));
    child.once("error", reject);
    void ended.then((code) => reject(new Error(`The gateway ended with ${code} before it was ready:\n${text}`)));
  });
  ready.catch(() => undefined);
  t.after(() => child.kill("SIGKILL"));
  return { child, output: () => text, ready, ended };
}

test("the process says where it listens, serves, and ends in order when it is told to", { timeout }, async (t) => {
  const nats = await startNats(t);
  // What the gateway reads is made by its owners.
  const auth = await nats.connect("auth");
  const codec = { encode: () => new Uint8Array(), decode: () => ({}) };
  for (const bucket of ["auth_keys", "auth_credentials", "auth_revocations", "auth_sessions"] as const)
    await auth.kv(bucket, codec);
  const host = await nats.connect("plugin-host");
  await Promise.all([host.objects("plugin_packages"), host.kv("plugin_status", codec)]);
  const { child, output, ended, ...started } = start(t, nats);
  const ready = await started.ready;
  assert.equal(ready.type, "ready", output());
  assert.match(ready.address, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.match(ready.grpcAddress, /^127\.0\.0\.1:\d+$/);
  const health = await send(`${ready.address}/health/ready`, "GET", {});
  assert.deepEqual([health.status, health.json], [200, { status: "healthy" }]);
  assert.equal((await send(`${ready.address}/v1/sessions`, "GET", {})).status, 401);
  child.kill("SIGTERM");
  assert.equal(await ended, 0, output());
  await assert.rejects(send(`${ready.address}/health/live`, "GET", {}));
});

test("settings that cannot be used end the process with their names", { timeout }, async (t) => {
  const nats = await startNats(t);
  const wrong = { WARREN_HTTP_PORT: "http", WARREN_GRPC_PORT: "65536", WARREN_REDIS_URL: "memcached://localhost" };
  const { output, ended } = start(t, nats, wrong);
  assert.equal(await ended, 78, output());
  for (const name of Object.keys(wrong)) assert.match(output(), new RegExp(name));
});
