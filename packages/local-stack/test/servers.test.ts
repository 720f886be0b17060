import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import test, { type TestContext } from "node:test";
import { connect, nkeyAuthenticator } from "@nats-io/transport-node";
import { OBSERVER, services } from "@warren/mesh/policy";
import { findServer, lookUp } from "../src/find-server.ts";
import { meshCredentials } from "../src/mesh-credentials.ts";
import { startNatsServer } from "../src/nats-server.ts";
import { startRedisServer } from "../src/redis-server.ts";
import { endProcess, isAlive, temporaryFolder } from "./support.ts";
import { readFileSync } from "node:fs";

async function natsOf(t: TestContext, dataDir: string, more: { port?: number } = {}) {
  const { publicKeys, fileOf } = meshCredentials(join(dataDir, "credentials"));
  const server = await startNatsServer({
    dataDir: join(dataDir, "nats"),
    publicKeys,
    onLine: () => undefined,
    ...more,
  });
  t.after(() => endProcess(server.process));
  return { ...server, fileOf };
}

async function redisOf(t: TestContext, dataDir: string) {
  const server = await startRedisServer({ dataDir, onLine: () => undefined });
  t.after(() => endProcess(server.process));
  return server;
}

test("nats-server takes a free port, lets in who has a key, and keeps its port over a restart", async (t) => {
  const dataDir = temporaryFolder(t);
  const first = await natsOf(t, dataDir);
  assert.equal(first.url, `nats://127.0.0.1:${first.port}`);
  const { seed } = JSON.parse(readFileSync(first.fileOf("auth"), "utf8")) as { seed: string };
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(seed));
  const connection = await connect({ servers: first.url, authenticator });
  await connection.close();
  await assert.rejects(connect({ servers: first.url, reconnect: false }), /authorization/i);
  await first.process.stop(5000);
  const again = await natsOf(t, dataDir, { port: first.port });
  assert.equal(again.port, first.port);
  assert.equal(statSync(join(dataDir, "nats", "nats-server.json")).mode & 0o777, 0o600);
});

test("a nats-server that cannot start says why, and leaves no process behind", async (t) => {
  const taken = createServer().listen(0, "127.0.0.1");
  t.after(() => taken.close());
  await new Promise((resolve) => taken.once("listening", resolve));
  const { port } = taken.address() as { port: number };
  await assert.rejects(natsOf(t, temporaryFolder(t), { port }), (error: Error) => {
    assert.match(error.message, /^nats-server ended at once: .*address already in use/);
    return true;
  });
});

test("redis-server listens on a socket of its owner alone, and on no port", async (t) => {
  if (!lookUp("redis-server")) return t.skip("redis-server is not installed");
  const dataDir = temporaryFolder(t);
  const server = await redisOf(t, dataDir);
  assert.equal(server.path, join(dataDir, "redis.sock"));
  assert.equal(statSync(server.path).mode & 0o777, 0o600);
  await server.process.stop(5000);
  assert.equal(isAlive(server.process.pid), false);
});

test("a data folder whose path is too long for a socket has it in a private folder, the same at every start", async (t) => {
  if (!lookUp("redis-server")) return t.skip("redis-server is not installed");
  const dataDir = join(temporaryFolder(t), "a".repeat(80), "b".repeat(80));
  const first = await redisOf(t, dataDir);
  const folder = dirname(first.path);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  assert.ok(Buffer.byteLength(first.path) <= 100);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  await first.process.stop(5000);
  assert.equal((await redisOf(t, dataDir)).path, first.path);

  await t.test("but not in one that others can write to", async (t) => {
    chmodSync(folder, 0o777);
    await assert.rejects(redisOf(t, dataDir), /must be a folder of this user alone: remove it, or/);
    chmodSync(folder, 0o700);
  });
});

test("a redis-server that cannot start says so", async (t) => {
  if (!lookUp("redis-server")) return t.skip("redis-server is not installed");
  const dataDir = temporaryFolder(t);
  mkdirSync(join(dataDir, "redis.sock"));
  const lines: string[] = [];
  await assert.rejects(startRedisServer({ dataDir, onLine: (line) => lines.push(line) }), /redis-server ended at once/);
});

test("a server that is not installed is told with the command that installs it", (t) => {
  assert.equal(lookUp("warren-no-such-server"), undefined);
  assert.throws(
    () => findServer("warren-no-such-server"),
    /warren-no-such-server is not installed: run "npm run setup"/,
  );
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, "warren-own-server"), "");
  const path = process.env["PATH"] ?? "";
  process.env["PATH"] = `${folder}:${path}`;
  t.after(() => (process.env["PATH"] = path));
  assert.equal(lookUp("warren-own-server"), undefined, "what cannot be executed is no program");
  chmodSync(join(folder, "warren-own-server"), 0o755);
  assert.equal(findServer("warren-own-server"), join(folder, "warren-own-server"));
});

test("credentials are made once, one a service, for their owner only", (t) => {
  const folder = join(temporaryFolder(t), "credentials");
  const first = meshCredentials(folder);
  const names = Object.keys(services);
  const files = [...names.map(first.fileOf), first.observerFile];
  const read = (): string[] => files.map((file) => readFileSync(file, "utf8"));
  const before = read();
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  for (const file of files) assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.deepEqual(Object.keys(first.publicKeys).toSorted(), [...names, OBSERVER].toSorted());
  assert.equal(new Set(Object.values(first.publicKeys)).size, files.length);
  assert.deepEqual(meshCredentials(folder).publicKeys, first.publicKeys);
  assert.deepEqual(read(), before);
});

test("where one credential is missing all are made anew, so that all know each other; none is readable by others", (t) => {
  const folder = join(temporaryFolder(t), "credentials");
  const first = meshCredentials(folder);
  rmSync(first.fileOf("agent"));
  chmodSync(first.fileOf("auth"), 0o644);
  chmodSync(folder, 0o755);
  const second = meshCredentials(folder);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  const { [OBSERVER]: _, ...known } = second.publicKeys;
  for (const name of Object.keys(services)) {
    assert.notEqual(second.publicKeys[name], first.publicKeys[name]);
    assert.equal(statSync(second.fileOf(name)).mode & 0o777, 0o600);
    const { trusted } = JSON.parse(readFileSync(second.fileOf(name), "utf8")) as { trusted: { services: object } };
    assert.deepEqual(trusted.services, known);
  }
  assert.ok(existsSync(second.fileOf("agent")));
});
