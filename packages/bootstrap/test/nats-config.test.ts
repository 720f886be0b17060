import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { ensureFolder, writeNatsConfig } from "@warren/bootstrap";
import { connectMesh, parseCredentials } from "@warren/mesh";
import { findServer, startProcess, waitUntil } from "@warren/local-stack";
import { serveProbes } from "@warren/service";

const silent = { error: () => undefined, warn: () => undefined, info: () => undefined, debug: () => undefined };

function makeKeys(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "warren-nats-config-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  ensureFolder({ folder });
  return folder;
}

async function freePort(): Promise<number> {
  const server = await serveProbes({ host: "127.0.0.1", port: 0, routes: {} });
  await server.close();
  return server.port;
}

test("a server with the written configuration is healthy and knows the services by the written credentials", async (t) => {
  const folder = makeKeys(t);
  const [port, monitor] = [await freePort(), await freePort()];
  const out = join(folder, "nats-server.json");
  writeNatsConfig({
    keys: join(folder, "nats"),
    out,
    serverName: "warren-0",
    port,
    storeDir: join(folder, "data"),
    maxStore: "9G",
    monitor: `127.0.0.1:${monitor}`,
  });
  assert.equal(statSync(out).mode & 0o777, 0o600);
  const lines: string[] = [];
  const server = await startProcess({
    command: findServer("nats-server"),
    args: ["-c", out],
    env: {},
    onLine: (line) => void lines.push(line),
  });
  t.after(() => server.stop(5_000));
  await waitUntil("health", 20_000, async () => {
    const health = await fetch(`http://127.0.0.1:${monitor}/healthz`).catch(() => undefined);
    return health?.status === 200 || undefined;
  });
  const mesh = await connectMesh({
    servers: [`nats://127.0.0.1:${port}`],
    credentials: parseCredentials(readFileSync(join(folder, "secrets", "mesh.json"), "utf8")),
    log: silent,
  });
  t.after(() => mesh.close());
  const bucket = await mesh.kv("secrets_keyring", { encode: (text: string) => Buffer.from(text), decode: String });
  assert.ok(bucket, lines.join("\n"));
});

test("one of a cluster names the others, is told the route password and never writes it anywhere else", (t) => {
  const folder = makeKeys(t);
  const out = join(folder, "nats-server.json");
  const password = readFileSync(join(folder, "nats", "route-password"), "utf8").trim();
  writeNatsConfig({
    keys: join(folder, "nats"),
    out,
    serverName: "warren-nats-1",
    port: 4222,
    storeDir: "/data",
    routes: ["warren-nats-0.nats:6222", "warren-nats-1.nats:6222"],
    advertise: "warren-nats-1.nats:6222",
    syncAlways: true,
    tls: { certFile: "/tls/tls.crt", keyFile: "/tls/tls.key", caFile: "/tls/ca.crt" },
  });
  const config = JSON.parse(readFileSync(out, "utf8")) as {
    server_name: string;
    cluster: { routes: string[]; authorization: { password: string }; cluster_advertise: string; tls: object };
    jetstream: object;
    tls: { cert_file: string };
  };
  assert.equal(config.server_name, "warren-nats-1");
  assert.equal(config.cluster.authorization.password, password);
  assert.equal(config.cluster.cluster_advertise, "warren-nats-1.nats:6222");
  assert.equal(config.cluster.routes.length, 2);
  assert.deepEqual(config.jetstream, { store_dir: "/data", sync_interval: "always" });
  assert.deepEqual(config.cluster.tls, {
    cert_file: "/tls/tls.crt",
    key_file: "/tls/tls.key",
    ca_file: "/tls/ca.crt",
    verify: true,
  });
  assert.equal(config.tls.cert_file, "/tls/tls.crt");
});
