import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { startNats, type TestNats } from "@warren/testing";
import { send } from "./support.ts";

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));

function start(
  t: TestContext,
  nats: TestNats,
  more: Record<string, string> = {},
): { child: ChildProcess; output: () => string } {
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
  t.after(() => child.kill("SIGKILL"));
  return { child, output: () => text };
}

test("the process says where it listens, serves, and ends in order when it is told to", async (t) => {
  const nats = await startNats(t);
  // What the gateway reads is made by its owners.
  const auth = await nats.connect("auth");
  const codec = { encode: () => new Uint8Array(), decode: () => ({}) };
  for (const bucket of ["auth_keys", "auth_credentials", "auth_revocations", "auth_sessions"] as const)
    await auth.kv(bucket, codec);
  const host = await nats.connect("plugin-host");
  await Promise.all([host.objects("plugin_packages"), host.kv("plugin_status", codec)]);
  const { child, output } = start(t, nats);
  const [ready] = (await once(child, "message")) as [{ type: string; address: string; grpcAddress: string }];
  assert.equal(ready.type, "ready", output());
  assert.match(ready.address, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.match(ready.grpcAddress, /^127\.0\.0\.1:\d+$/);
  const health = await send(`${ready.address}/health/ready`, "GET", {});
  assert.deepEqual([health.status, health.json], [200, { status: "healthy" }]);
  assert.equal((await send(`${ready.address}/v1/sessions`, "GET", {})).status, 401);
  child.kill("SIGTERM");
  const [code] = (await once(child, "exit")) as [number];
  assert.equal(code, 0, output());
  await assert.rejects(send(`${ready.address}/health/live`, "GET", {}));
});

test("settings that cannot be used end the process with their names", async (t) => {
  const nats = await startNats(t);
  const wrong = { WARREN_HTTP_PORT: "http", WARREN_GRPC_PORT: "65536", WARREN_REDIS_URL: "memcached://localhost" };
  const { child, output } = start(t, nats, wrong);
  const [code] = (await once(child, "close")) as [number];
  assert.equal(code, 78);
  for (const name of Object.keys(wrong)) assert.match(output(), new RegExp(name));
});
