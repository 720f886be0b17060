import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { type CallContext, type CallerAssertion, RpcError, StatusCode } from "@warren/mesh";
import type { SecretAccessed } from "@warren/proto/warren/events/v1/events";
import { createLog } from "@warren/service";
import { createHandlers } from "../src/handlers.ts";
import { Leases } from "../src/leases.ts";
import { Vault } from "../src/vault/vault.ts";
import { backend, ringOn, tamper } from "./build.ts";

const CANARY = "canary-77b0e2";
const put = { name: "api.key", value: CANARY, ifVersion: undefined, description: "" };
const lease = { name: "api.key", pluginId: "clock", instanceId: "i1", ttlSeconds: 0 };

function callOf(principal: string, more: Partial<CallContext> = {}, tenant = "default"): CallContext {
  return {
    signal: new AbortController().signal,
    deadline: performance.now() + 10_000,
    caller: { principal, tenant, scopes: ["*"], expiresAt: Number.MAX_SAFE_INTEGER },
    assertion: "" as CallerAssertion,
    idempotencyKey: undefined,
    attempt: 1,
    resumeFrom: undefined,
    resumable: () => undefined,
    ...more,
  };
}

const person = callOf("device:d1");
const host = callOf("service:plugin-host");

async function build(t: TestContext) {
  const on = await backend(t);
  const ring = await ringOn(t, on);
  const events: SecretAccessed[] = [];
  const lines: string[] = [];
  const audit = { away: false };
  const log = createLog({
    service: "secrets",
    instanceId: "i",
    level: "trace",
    destination: { write: (line: string) => void lines.push(line) },
  });
  const leases = new Leases();
  const handlers = createHandlers({
    vault: new Vault({ store: on.secrets, ring }),
    leases,
    log,
    audit: async (event) => {
      if (audit.away) throw new RpcError(StatusCode.UNAVAILABLE, "NATS is away");
      events.push(event);
    },
  });
  return { on, ring, handlers, leases, events, lines, audit };
}

function failsWith(code: StatusCode, reason: string, field?: string) {
  return (error: unknown) => {
    assert.ok(error instanceof RpcError, String(error));
    assert.deepEqual([error.code, error.details.reason], [code, reason]);
    assert.equal(error.details.violations?.[0]?.field, field);
    assert.ok(!JSON.stringify([error.message, error.details]).includes(CANARY));
    return true;
  };
}

test("put, get, list and delete answer as the contract says", async (t) => {
  const { handlers } = await build(t);
  const stored = await handlers.putSecret({ ...put, description: "for the API" }, person);
  assert.deepEqual([stored.name, stored.version, stored.description], ["api.key", 1, "for the API"]);
  const read = await handlers.getSecret({ name: "api.key", version: 0 }, person);
  assert.deepEqual([read.name, read.version, read.value], ["api.key", 1, CANARY]);
  const listed = await handlers.listSecrets({ pageSize: 0, pageToken: "" }, person);
  assert.deepEqual(listed, { secrets: [stored], nextPageToken: "" });
  assert.deepEqual(await handlers.deleteSecret({ name: "api.key" }, person), {});
  await assert.rejects(
    handlers.getSecret({ name: "api.key", version: 0 }, person),
    failsWith(StatusCode.NOT_FOUND, "SECRET_NOT_FOUND"),
  );
});

test("a list has 100 secrets a page when no size is named", async (t) => {
  const { handlers } = await build(t);
  for (let index = 0; index < 101; index += 1) await handlers.putSecret({ ...put, name: `n${index}` }, person);
  const { secrets, nextPageToken } = await handlers.listSecrets({ pageSize: 0, pageToken: "" }, person);
  assert.equal(secrets?.length, 100);
  const rest = await handlers.listSecrets({ pageSize: 0, pageToken: nextPageToken ?? "" }, person);
  assert.deepEqual([rest.secrets?.length, rest.nextPageToken], [1, ""]);
});

test("what is wrong with a request has the code, the reason and the field for it, and no value", async (t) => {
  const { handlers } = await build(t);
  await handlers.putSecret(put, person);
  const failures = [
    [{ ...put, ifVersion: 0 }, StatusCode.ALREADY_EXISTS, "SECRET_EXISTS"],
    [{ ...put, ifVersion: 7 }, StatusCode.ABORTED, "VERSION_MISMATCH"],
    [{ ...put, value: CANARY + "é".repeat(32_768) }, StatusCode.INVALID_ARGUMENT, "INVALID_VALUE", "value"],
  ] as const;
  for (const [request, code, reason, field] of failures) {
    await assert.rejects(handlers.putSecret(request, person), failsWith(code, reason, field));
  }
  await assert.rejects(
    handlers.listSecrets({ pageSize: 1, pageToken: "?" }, person),
    failsWith(StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN", "pageToken"),
  );
});

test("a caller sees only its tenant's secrets", async (t) => {
  const { handlers } = await build(t);
  const stranger = callOf("device:d2", {}, "other");
  await handlers.putSecret(put, person);
  const notFound = failsWith(StatusCode.NOT_FOUND, "SECRET_NOT_FOUND");
  await assert.rejects(handlers.getSecret({ name: "api.key", version: 0 }, stranger), notFound);
  await assert.rejects(handlers.deleteSecret({ name: "api.key" }, stranger), notFound);
  await assert.rejects(
    handlers.leaseSecret(lease, callOf("service:plugin-host", {}, "other")),
    failsWith(StatusCode.NOT_FOUND, "SECRET_NOT_FOUND"),
  );
  assert.deepEqual((await handlers.listSecrets({ pageSize: 0, pageToken: "" }, stranger)).secrets, []);
});

test("a delete whose first answer was lost succeeds when it is tried again", async (t) => {
  const { handlers } = await build(t);
  const again = callOf("device:d1", { attempt: 2 });
  assert.deepEqual(await handlers.deleteSecret({ name: "api.key" }, again), {});
  await assert.rejects(
    handlers.deleteSecret({ name: "api.key" }, person),
    failsWith(StatusCode.NOT_FOUND, "SECRET_NOT_FOUND"),
  );
});

test("only plugin hosts lease and revoke, and they do nothing else", async (t) => {
  const { handlers, leases, events } = await build(t);
  await handlers.putSecret(put, person);
  events.length = 0;
  const others = ["device:d1", "operator", "key:k", "service:agent", "service:plugin-hostile", "plugin-host"];
  const denied = failsWith(StatusCode.PERMISSION_DENIED, "NOT_A_PLUGIN_HOST");
  for (const principal of others) {
    await assert.rejects(handlers.leaseSecret(lease, callOf(principal)), denied);
    await assert.rejects(handlers.revokeLeases(lease, callOf(principal)), denied);
  }
  const leaseOnly = failsWith(StatusCode.PERMISSION_DENIED, "LEASE_ONLY");
  await assert.rejects(handlers.getSecret({ name: "api.key", version: 0 }, host), leaseOnly);
  await assert.rejects(handlers.putSecret(put, host), leaseOnly);
  await assert.rejects(handlers.listSecrets({ pageSize: 0, pageToken: "" }, host), leaseOnly);
  await assert.rejects(handlers.deleteSecret({ name: "api.key" }, host), leaseOnly);
  assert.equal(leases.size, 0);
  assert.deepEqual(events, []);
});

test("a lease gives the newest value to one process of a plugin until it is revoked", async (t) => {
  const { handlers, leases } = await build(t);
  await handlers.putSecret(put, person);
  await handlers.putSecret({ ...put, value: "newest" }, person);
  const before = Date.now();
  const given = await handlers.leaseSecret({ ...lease, ttlSeconds: 60 }, host);
  assert.deepEqual([given.value, given.version], ["newest", 2]);
  const lasts = (given.expireTime as Date).getTime() - before;
  assert.ok(lasts >= 60_000 && lasts < 70_000, `${lasts} ms`);
  const holder = { tenant: "default", pluginId: "clock", instanceId: "i1" };
  assert.deepEqual(
    leases.heldBy(holder).map(({ id }) => id),
    [given.id],
  );
  assert.deepEqual(await handlers.revokeLeases({ pluginId: "clock", instanceId: "i1" }, host), {});
  assert.deepEqual(leases.heldBy(holder), []);
});

test("every access is audited with who, what and when, and without the value", async (t) => {
  const { handlers, events, lines } = await build(t);
  await handlers.putSecret(put, person);
  await handlers.getSecret({ name: "api.key", version: 1 }, person);
  await handlers.leaseSecret(lease, host);
  await handlers.deleteSecret({ name: "api.key" }, person);
  const seen = events.map(({ time, ...event }) => {
    assert.ok(time && Math.abs(time.getTime() - Date.now()) < 10_000);
    return event;
  });
  const base = { name: "api.key", version: 1, principal: "device:d1", pluginId: "" };
  assert.deepEqual(seen, [
    { ...base, action: "put" },
    { ...base, action: "get" },
    { ...base, action: "lease", principal: "service:plugin-host", pluginId: "clock" },
    { ...base, action: "delete", version: 0 },
  ]);
  assert.ok(lines.length >= 4);
  assert.ok(!JSON.stringify([events, lines]).includes(CANARY));
});

test("without the audit no value is given out, and what was written is logged instead", async (t) => {
  const { handlers, audit, leases, lines } = await build(t);
  await handlers.putSecret(put, person);
  audit.away = true;
  const away = (error: unknown) => error instanceof RpcError && error.code === StatusCode.UNAVAILABLE;
  await assert.rejects(handlers.getSecret({ name: "api.key", version: 0 }, person), away);
  await assert.rejects(handlers.leaseSecret(lease, host), away);
  assert.equal(leases.size, 0);
  assert.equal((await handlers.putSecret(put, person)).version, 2);
  assert.deepEqual(await handlers.deleteSecret({ name: "api.key" }, person), {});
  const errors = lines.map((line) => JSON.parse(line)).filter(({ level }) => level === "error");
  assert.deepEqual(
    errors.map(({ action, name, version, principal }) => [action, name, version, principal]),
    [
      ["put", "api.key", 2, "device:d1"],
      ["delete", "api.key", undefined, "device:d1"],
    ],
  );
});

test("a secret that was tampered with is data loss to the caller and an error in the log, and can be deleted", async (t) => {
  const { on, handlers, lines } = await build(t);
  await handlers.putSecret(put, person);
  await tamper(on.secrets, "secret.default.api.key", (bytes) =>
    Buffer.concat([bytes.subarray(0, -4), Buffer.alloc(4)]),
  );
  const lost = failsWith(StatusCode.DATA_LOSS, "SECRET_UNREADABLE");
  await assert.rejects(handlers.getSecret({ name: "api.key", version: 0 }, person), lost);
  await assert.rejects(handlers.leaseSecret(lease, host), lost);
  assert.equal(lines.map((line) => JSON.parse(line)).filter(({ level }) => level === "error").length, 2);
  assert.ok(!lines.join("").includes(CANARY));
  await handlers.deleteSecret({ name: "api.key" }, person);
});

test("a key ring that cannot be used is unavailable to the caller, who learns nothing of it", async (t) => {
  const { ring, handlers, lines } = await build(t);
  await handlers.putSecret(put, person);
  ring.close();
  await assert.rejects(
    handlers.getSecret({ name: "api.key", version: 0 }, person),
    failsWith(StatusCode.UNAVAILABLE, "KEY_RING_UNUSABLE"),
  );
  assert.ok(lines.some((line) => line.includes("KeyRingError")));
});
