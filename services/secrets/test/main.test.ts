import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats, type TestNats } from "@warren/testing";
import { folder } from "./folder.ts";

const MAIN = join(import.meta.dirname, "../src/main.ts");
const CANARY = "canary-9d2f60";

/** Starts the service as a process of its own, as local-stack does. */
function start(t: TestContext, nats: TestNats, dataDir: string) {
  const env = {
    PATH: process.env["PATH"],
    WARREN_NATS_URL: nats.url,
    WARREN_MESH_CREDENTIALS: nats.credentialsFile("secrets"),
    WARREN_DATA_DIR: dataDir,
    WARREN_LOG_LEVEL: "trace",
  };
  const child: ChildProcess = spawn(process.execPath, [MAIN], { env, stdio: ["ignore", "pipe", "pipe", "ipc"] });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => output.push(String(chunk)));
  const ended = once(child, "close");
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const early = ended.then(() => Promise.reject(new Error(`It ended before it was ready:\n${output.join("")}`)));
  early.catch(() => undefined);
  return { child, ended, output, ready: Promise.race([once(child, "message"), early]) };
}

async function caller(nats: TestNats) {
  const gateway = await nats.connect("gateway");
  const scopes = ["secrets:read", "secrets:write"];
  const expiresAt = Date.now() + 60_000;
  const assertion = gateway.assert({ principal: "operator", tenant: "default", scopes, expiresAt });
  return { client: gateway.client(SecretsServiceDefinition), options: { assertion } };
}

test("the service keeps its secrets over a kill, stops in order, and does not start without its root key", async (t) => {
  const nats = await startNats(t);
  // Keeps the audit.
  await nats.connect("auth");
  const dataDir = await folder(t);
  const rootKeyFile = join(dataDir, "secrets", "root.key");
  const { client, options } = await caller(nats);

  const first = start(t, nats, dataDir);
  await first.ready;
  assert.equal((await stat(rootKeyFile)).mode & 0o777, 0o600);
  await client.putSecret({ name: "api.key", value: CANARY }, options);
  const commandLine = await readFile(`/proc/${first.child.pid}/cmdline`, "utf8").catch(() => "");
  assert.ok(!commandLine.includes(CANARY));
  first.child.kill("SIGKILL");
  await first.ended;

  const second = start(t, nats, dataDir);
  await second.ready;
  assert.equal((await client.getSecret({ name: "api.key" }, options)).value, CANARY);
  second.child.kill("SIGTERM");
  assert.deepEqual(await second.ended, [0, null]);

  await rm(rootKeyFile);
  const third = start(t, nats, dataDir);
  await assert.rejects(third.ready, /It ended before it was ready/);
  assert.deepEqual(await third.ended, [1, null]);
  assert.match(third.output.join(""), /there is none at .*root\.key.*from a backup/);
  await assert.rejects(stat(rootKeyFile), { code: "ENOENT" });

  const said = [first, second, third].flatMap(({ output }) => output).join("");
  assert.match(said, /The vault is open/);
  assert.ok(!said.includes(CANARY));
});
