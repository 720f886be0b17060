import assert from "node:assert/strict";
import { test } from "node:test";
import { startRedis } from "@warren/testing";
import { Redis } from "ioredis";
import { PROOF_LIFETIME_MS } from "../../src/identity/dpop.ts";
import { ProofMemory, type ProofRedis, SharedProofs } from "../../src/identity/used-proofs.ts";

test("a proof is remembered as long as it could be used, and then forgotten", async () => {
  let now = 0;
  const memory = new ProofMemory(() => now);
  assert.equal(await memory.use("a"), true);
  for (const at of [0, PROOF_LIFETIME_MS - 1, PROOF_LIFETIME_MS]) {
    now = at;
    assert.equal(await memory.use("a"), false, `after ${at} ms`);
  }
  now = 2 * PROOF_LIFETIME_MS + 1;
  assert.equal(await memory.use("a"), true, "as fresh as any: its own time has run out");
  now += 10 * PROOF_LIFETIME_MS;
  assert.equal(await memory.use("a"), true, "after a quiet time, too");
});

test("a memory that is full takes no more proofs until it has forgotten some", async () => {
  let now = 0;
  const memory = new ProofMemory(() => now, 3);
  for (const id of ["a", "b", "c"]) assert.equal(await memory.use(id), true);
  assert.equal(await memory.use("d"), false);
  now = PROOF_LIFETIME_MS;
  assert.equal(await memory.use("d"), true);
});

test("gateways with one Redis take a proof once among them", async (t) => {
  const { path } = await startRedis(t);
  const clients = [new Redis({ path }), new Redis({ path })];
  t.after(() => clients.forEach((client) => client.disconnect()));
  const warnings: object[] = [];
  const log = { warn: (fields: object) => void warnings.push(fields) };
  const gateways = clients.map((client) => new SharedProofs(client as ProofRedis, log, 30_000));
  const uses = await Promise.all(gateways.flatMap((gateway) => [gateway.use("a"), gateway.use("a")]));
  assert.equal(uses.filter(Boolean).length, 1);
  assert.deepEqual(warnings, []);
});

test("without Redis each gateway remembers for itself, and says so once", async () => {
  const warnings: object[] = [];
  const log = { warn: (fields: object) => void warnings.push(fields) };
  for (const set of [() => Promise.reject(new Error("away")), () => new Promise<never>(() => undefined)]) {
    warnings.length = 0;
    const proofs = new SharedProofs({ set }, log);
    assert.deepEqual(await Promise.all([proofs.use("a"), proofs.use("a")]), [true, false]);
    assert.equal(await proofs.use("b"), true);
    assert.equal(warnings.length, 1);
  }
});
