import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { bytesCodec, type EventType, type Kv, type Mesh, RpcError, StatusCode } from "@warren/mesh";
import type { SecretAccessed } from "@warren/proto/warren/events/v1/events";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { HealthStatus } from "@warren/proto/warren/telemetry/v1/telemetry";
import { createLog, Health } from "@warren/service";
import { startNats, type TestNats } from "@warren/testing";
import { createSecrets } from "../src/app.ts";
import { KeyRingError } from "../src/vault/errors.ts";
import { fileRootKey } from "../src/vault/root-key.ts";
import { folder } from "./folder.ts";

const CANARY = "canary-c5e81d3b9f";

interface Replica {
  readonly mesh: Mesh;
  readonly health: Health;
  readonly stop: () => Promise<void>;
}

interface Build {
  readonly nats: TestNats;
  readonly rootKeyFile: string;
  readonly events: SecretAccessed[];
  readonly lines: string[];
  /** Starts one more replica. */
  readonly replica: (acceptGeneration?: number) => Promise<Replica>;
}

async function build(t: TestContext, existingRootKey?: string): Promise<Build> {
  const nats = await startNats(t);
  // Keeps the audit.
  await nats.connect("auth");
  const rootKeyFile = existingRootKey ?? join(await folder(t), "root-key");
  const events: SecretAccessed[] = [];
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const replica = async (acceptGeneration?: number) => {
    const log = createLog({ service: "secrets", instanceId: "i", level: "trace", destination });
    const mesh = await nats.connect("secrets", { log });
    const health = new Health();
    const listened = {
      kv: mesh.kv.bind(mesh),
      serve: mesh.serve.bind(mesh),
      publish: <T>(type: EventType<T>, event: T) => {
        events.push(event as SecretAccessed);
        return mesh.publish(type, event);
      },
    };
    const rootKey = fileRootKey(rootKeyFile);
    const secrets = await createSecrets({ mesh: listened, rootKey, log, health, acceptGeneration });
    const stop = async (): Promise<void> => {
      await mesh.drain();
      await secrets.stop();
      await mesh.close();
    };
    return { mesh, health, stop };
  };
  return { nats, rootKeyFile, events, lines, replica };
}

/** Calls the vault as the gateway does, for a device of a tenant. */
async function person(nats: TestNats, tenant = "default", scopes = ["secrets:read", "secrets:write"]) {
  const gateway = await nats.connect("gateway");
  const expiresAt = Date.now() + 60_000;
  const assertion = gateway.assert({ principal: "device:d1", tenant, scopes, expiresAt });
  const client = gateway.client(SecretsServiceDefinition);
  return {
    put: (name: string, value: string, ifVersion?: number) =>
      client.putSecret({ name, value, ifVersion }, { assertion }),
    get: (name: string, version = 0) => client.getSecret({ name, version }, { assertion }),
    list: (pageSize = 0, pageToken = "") => client.listSecrets({ pageSize, pageToken }, { assertion }),
    delete: (name: string) => client.deleteSecret({ name }, { assertion }),
    lease: (name: string) => client.leaseSecret({ name, pluginId: "p", instanceId: "i" }, { assertion }),
  };
}

function failsWith(code: StatusCode) {
  return (error: unknown) => {
    assert.ok(error instanceof RpcError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  };
}

/** What one who holds the service's credential can do with its buckets. */
async function bucket(nats: TestNats, name: "secrets" | "secrets_keyring"): Promise<Kv<Uint8Array>> {
  return (await nats.connect("secrets")).kv(name, bytesCodec);
}

async function filesUnder(path: string): Promise<{ path: string; bytes: Buffer }[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(files.map(async (file) => ({ path: file, bytes: await readFile(file) })));
}

test("a person stores, reads, lists and deletes secrets over the mesh, on two replicas as on one", async (t) => {
  const { nats, replica } = await build(t);
  await Promise.all([replica(), replica()]);
  const alice = await person(nats);
  for (let version = 1; version <= 6; version += 1) {
    assert.equal((await alice.put("api.key", `v${version}`)).version, version);
    assert.equal((await alice.get("api.key")).value, `v${version}`);
  }
  assert.equal((await alice.get("api.key", 2)).value, "v2");
  await alice.put("z", "z");
  const { secrets, nextPageToken } = await alice.list(1);
  assert.deepEqual([secrets[0]?.name, secrets[0]?.version], ["api.key", 6]);
  assert.ok(secrets[0]?.createTime && secrets[0].updateTime && secrets[0].createTime < secrets[0].updateTime);
  assert.equal((await alice.list(1, nextPageToken)).secrets[0]?.name, "z");
  await alice.delete("api.key");
  await assert.rejects(alice.get("api.key"), failsWith(StatusCode.NOT_FOUND));
  assert.deepEqual(
    (await alice.list()).secrets.map(({ name }) => name),
    ["z"],
  );
});

test("scopes, tenants and names are guarded at the mesh", async (t) => {
  const { nats, replica } = await build(t);
  await replica();
  const alice = await person(nats);
  await alice.put("api.key", CANARY);
  const reader = await person(nats, "default", ["secrets:read"]);
  assert.equal((await reader.get("api.key")).value, CANARY);
  await assert.rejects(reader.put("api.key", "x"), failsWith(StatusCode.PERMISSION_DENIED));
  await assert.rejects(reader.delete("api.key"), failsWith(StatusCode.PERMISSION_DENIED));
  const stranger = await person(nats, "other");
  await assert.rejects(stranger.get("api.key"), failsWith(StatusCode.NOT_FOUND));
  assert.deepEqual((await stranger.list()).secrets, []);
  const nobody = await person(nats, "default", []);
  await assert.rejects(nobody.get("api.key"), failsWith(StatusCode.PERMISSION_DENIED));
  await assert.rejects(alice.lease("api.key"), failsWith(StatusCode.PERMISSION_DENIED));
  for (const name of ["", "*", ">", "a.*", "a..b", ".a", "a b", "a/b", "a\0b", "é", "a".repeat(129)]) {
    await assert.rejects(alice.put(name, "x"), failsWith(StatusCode.INVALID_ARGUMENT), name);
    await assert.rejects(alice.get(name), failsWith(StatusCode.INVALID_ARGUMENT), name);
  }
});

test("a plugin host leases a value and gives it back, and may do nothing else", async (t) => {
  const { nats, replica, events } = await build(t);
  await replica();
  await (await person(nats)).put("api.key", CANARY);
  const host = (await nats.connect("plugin-host")).client(SecretsServiceDefinition);
  const lease = await host.leaseSecret({ name: "api.key", pluginId: "clock", instanceId: "i1", ttlSeconds: 5 });
  assert.deepEqual([lease.value, lease.version], [CANARY, 1]);
  assert.ok(lease.id && lease.expireTime && lease.expireTime.getTime() > Date.now());
  await host.revokeLeases({ pluginId: "clock", instanceId: "i1" });
  await assert.rejects(host.getSecret({ name: "api.key" }), failsWith(StatusCode.PERMISSION_DENIED));
  await assert.rejects(
    host.leaseSecret({ name: "absent", pluginId: "clock", instanceId: "i1" }),
    failsWith(StatusCode.NOT_FOUND),
  );
  assert.deepEqual(
    events.map(({ action, principal, pluginId }) => [action, principal, pluginId]),
    [
      ["put", "device:d1", ""],
      ["lease", "service:plugin-host", "clock"],
    ],
  );
});

test("50 concurrent puts to one name on two replicas over NATS give versions 1 to 50 without a gap or a loss", async (t) => {
  const { nats, replica } = await build(t);
  await Promise.all([replica(), replica()]);
  const alice = await person(nats);
  const put = await Promise.all(
    Array.from({ length: 50 }, async (_, index) => ({ value: `v${index}`, ...(await alice.put("hot", `v${index}`)) })),
  );
  const byVersion = put.toSorted((a, b) => a.version - b.version);
  assert.deepEqual(
    byVersion.map(({ version }) => version),
    Array.from({ length: 50 }, (_, index) => index + 1),
  );
  for (const { version, value } of byVersion.slice(-10)) assert.equal((await alice.get("hot", version)).value, value);
});

test("ten versions of the longest value go over the mesh", async (t) => {
  const { nats, replica } = await build(t);
  await replica();
  const alice = await person(nats);
  const longest = "x".repeat(65_536);
  for (let version = 1; version <= 11; version += 1) await alice.put("long", longest);
  assert.equal((await alice.get("long", 2)).value, longest);
  await assert.rejects(alice.put("long", "€".repeat(21_846)), failsWith(StatusCode.INVALID_ARGUMENT));
});

test("secrets are there after NATS was killed and after every replica was started again", async (t) => {
  const { nats, replica } = await build(t);
  const first = await replica();
  const alice = await person(nats);
  await alice.put("api.key", CANARY);
  const back = new Promise<void>((resolve) => first.mesh.onReconnect(resolve));
  await nats.restart();
  await back;
  assert.equal((await (await person(nats)).get("api.key")).value, CANARY);
  await first.stop();
  await replica();
  assert.equal((await (await person(nats)).get("api.key")).value, CANARY);
});

test("a canary goes through put, get, lease, a tampered read and delete, and is in no file, log line, error or event", async (t) => {
  const { nats, replica, rootKeyFile, events, lines } = await build(t);
  const { stop } = await replica();
  const alice = await person(nats);
  const host = (await nats.connect("plugin-host")).client(SecretsServiceDefinition);
  const errors: unknown[] = [];
  const failing = async (call: Promise<unknown>): Promise<void> => {
    await assert.rejects(call, (error) => errors.push(error) > 0);
  };

  await alice.put("kept", CANARY);
  await alice.put("a", `${CANARY}-1`);
  await alice.put("a", `${CANARY}-2`);
  assert.equal((await alice.get("a")).value, `${CANARY}-2`);
  await host.leaseSecret({ name: "a", pluginId: "clock", instanceId: "i1" });
  await failing(alice.put("a", CANARY, 9));
  await failing(alice.put("a", CANARY.repeat(10_000)));
  await failing(alice.put("a b", CANARY));
  const stored = await bucket(nats, "secrets");
  await stored.put("secret.default.a", (await stored.get("secret.default.kept"))!.value);
  await failing(alice.get("a"));
  await failing(host.leaseSecret({ name: "a", pluginId: "clock", instanceId: "i1" }));
  assert.ok(errors.slice(-2).every(failsWith(StatusCode.DATA_LOSS)));
  await alice.delete("a");
  await stop();

  const needles = [CANARY, Buffer.from(CANARY).toString("base64").slice(0, 16), Buffer.from(CANARY).toString("hex")];
  const spoken = JSON.stringify([lines, events, errors.map((error) => [String(error), error])]);
  for (const needle of needles) assert.ok(!spoken.includes(needle));
  assert.ok(lines.length > 5 && events.length >= 6 && errors.length === 5);
  const files = [...(await filesUnder(nats.dataDir)), ...(await filesUnder(join(rootKeyFile, "..")))];
  assert.ok(files.some(({ path }) => path.includes("KV_secrets") && path.endsWith(".blk")));
  assert.ok(
    files.some(({ bytes }) => bytes.includes("$KV.secrets.secret.default.kept")),
    "the stored entry is among them",
  );
  for (const { path, bytes } of files) for (const needle of needles) assert.ok(!bytes.includes(needle), path);
});

test("without its root key the service does not start, and a person's call finds nobody", async (t) => {
  const { nats, replica } = await build(t);
  const first = await replica();
  await (await person(nats)).put("api.key", "v");
  await first.stop();
  const mesh = await nats.connect("secrets");
  const log = createLog({ service: "secrets", instanceId: "i", level: "silent" });
  const elsewhere = fileRootKey(join(await folder(t), "root-key"));
  await assert.rejects(createSecrets({ mesh, rootKey: elsewhere, log }), KeyRingError);
  await assert.rejects((await person(nats)).get("api.key"), failsWith(StatusCode.UNAVAILABLE));
});

test("health is good, degraded after a roll-back until a person accepts it, and bad without the ring", async (t) => {
  const before = await build(t);
  const first = await before.replica();
  assert.equal((await first.health.report()).status, HealthStatus.HEALTHY);
  const alice = await person(before.nats);
  for (let version = 0; version < 5; version += 1) await alice.put("api.key", "v");
  await first.stop();
  const remembered = await (await bucket(before.nats, "secrets_keyring")).get("ring");

  // A bucket of secrets that is younger than the ring says: what a restored backup looks like.
  const restored = await build(t, before.rootKeyFile);
  const keyring = await bucket(restored.nats, "secrets_keyring");
  await keyring.put("ring", remembered!.value);
  const second = await restored.replica();
  assert.equal((await second.health.report()).status, HealthStatus.DEGRADED);
  const accept = restored.lines.join("").match(/WARREN_SECRETS_ACCEPT_GENERATION=(\d+)/)?.[1];
  await second.stop();

  const third = await restored.replica(Number(accept));
  assert.equal((await third.health.report()).status, HealthStatus.HEALTHY);
  await keyring.delete("ring");
  assert.equal((await third.health.report()).status, HealthStatus.UNHEALTHY);
});
