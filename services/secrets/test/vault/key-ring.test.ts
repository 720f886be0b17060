import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { SecretStore } from "../../src/store/store.ts";
import { KeyRingError, type KeyRingErrorCode, PayloadError } from "../../src/vault/errors.ts";
import { passphraseRootKey } from "../../src/vault/root-key.ts";
import { backend, ringOn, tamper, vaultOn } from "../build.ts";
import { folder } from "../folder.ts";

const binding = { schema: "test/1", tenant: "default", name: "a", version: 1, uid: "u" };
const text = Buffer.from("value");

function failsWith(code: KeyRingErrorCode, ...texts: string[]) {
  return (error: unknown) =>
    error instanceof KeyRingError && error.code === code && texts.every((each) => error.message.includes(each));
}

test("what one start sealed the next start opens", async (t) => {
  const on = await backend(t);
  const payload = await (await ringOn(t, on)).seal(text, binding);
  assert.deepEqual(await (await ringOn(t, on)).open(payload, binding), text);
});

test("replicas that start at once on an empty mesh agree on one ring", async (t) => {
  const on = await backend(t);
  const rings = await Promise.all(Array.from({ length: 8 }, () => ringOn(t, on)));
  for (const one of rings) {
    const payload = await one.seal(text, binding);
    for (const other of rings) assert.deepEqual(await other.open(payload, binding), text);
  }
  assert.equal(new Set(rings.map((ring) => ring.keyIds.join())).size, 1);
});

test("of two machines with root keys of their own the slower one does not start", async (t) => {
  const on = await backend(t);
  const other = { ...on, rootKeyFile: join(await folder(t), "root-key") };
  const starts = await Promise.allSettled([ringOn(t, on), ringOn(t, other)]);
  assert.deepEqual(starts.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  const rejected = starts.find((start) => start.status === "rejected");
  assert.ok(failsWith("root_key_wrong")(rejected?.reason));
});

test("a ring without its root key file refuses to start, says how to go on, and makes no new key", async (t) => {
  const on = await backend(t);
  const payload = await (await ringOn(t, on)).seal(text, binding);
  const stored = await on.keyring.read("ring");
  await rename(on.rootKeyFile, `${on.rootKeyFile}.away`);
  await assert.rejects(
    ringOn(t, on),
    failsWith("root_key_missing", on.rootKeyFile, "from a backup", "secrets_keyring"),
  );
  await assert.rejects(stat(on.rootKeyFile), { code: "ENOENT" });
  assert.deepEqual(await on.keyring.read("ring"), stored);
  await rename(`${on.rootKeyFile}.away`, on.rootKeyFile);
  assert.deepEqual(await (await ringOn(t, on)).open(payload, binding), text);
});

test("another root key refuses to start, and neither it nor the ring is touched", async (t) => {
  const on = await backend(t);
  await (await ringOn(t, on)).seal(text, binding);
  const stored = await on.keyring.read("ring");
  await writeFile(on.rootKeyFile, randomBytes(32));
  await assert.rejects(ringOn(t, on), failsWith("root_key_wrong", on.rootKeyFile));
  assert.deepEqual(await on.keyring.read("ring"), stored);
});

test("a ring opens by its passphrase, not by another one, nor by another kind of root key", async (t) => {
  const on = await backend(t);
  const path = join(await folder(t), "passphrase");
  await writeFile(path, "correct horse battery\n", { mode: 0o600 });
  const rootKey = passphraseRootKey(path);
  const payload = await (await ringOn(t, on, { rootKey })).seal(text, binding);
  assert.deepEqual(await (await ringOn(t, on, { rootKey })).open(payload, binding), text);
  await assert.rejects(ringOn(t, on), failsWith("root_key_kind", '"passphrase"'));
  await assert.rejects(stat(on.rootKeyFile), { code: "ENOENT" });
  await writeFile(path, "wrong horse battery\n");
  await assert.rejects(ringOn(t, on, { rootKey }), failsWith("root_key_wrong", path));
});

test("a stored ring with any byte changed refuses to start", async (t) => {
  const on = await backend(t);
  await (await ringOn(t, on)).seal(text, binding);
  const length = (await on.keyring.read("ring"))?.value.length ?? 0;
  for (let index = 0; index < length; index += 1) {
    const flip = (bytes: Buffer) => bytes.fill(bytes[index]! ^ 0x20, index, index + 1);
    await tamper(on.keyring, "ring", flip);
    await assert.rejects(ringOn(t, on), KeyRingError, `byte ${index}`);
    await tamper(on.keyring, "ring", flip);
  }
  await tamper(on.keyring, "ring", (bytes) => bytes.subarray(0, 40));
  await assert.rejects(ringOn(t, on), failsWith("ring_damaged"));
});

test("no new ring is made where secrets are stored and the ring is gone", async (t) => {
  const on = await backend(t);
  await (await vaultOn(t, on)).put({ tenant: "default", name: "a", value: "v" });
  const ring = await on.keyring.read("ring");
  await on.keyring.remove("ring", ring?.revision ?? 0);
  await assert.rejects(ringOn(t, on), failsWith("ring_lost", "secrets_keyring"));
  assert.equal(await on.keyring.read("ring"), undefined);
});

test("a replica that finds secrets but no ring looks again before it calls the ring lost", async (t) => {
  const on = await backend(t);
  const hasSecrets = async (): Promise<boolean> => {
    await (await vaultOn(t, on)).put({ tenant: "default", name: "a", value: "v" });
    return true;
  };
  const ring = await ringOn(t, on, { hasSecrets });
  assert.equal(ring.keyIds.length, 1);
});

test("a key is replaced before it has sealed as often as it may, counted over replicas and restarts", async (t) => {
  const on = await backend(t);
  const limits = { block: 10, maxUses: 40 };
  const payloads: Buffer[] = [];
  for (let start = 0; start < 6; start += 1) {
    const ring = await ringOn(t, on, limits);
    for (let use = 0; use < 15; use += 1) payloads.push(await ring.seal(text, binding));
  }
  const uses = new Map<string, number>();
  for (const payload of payloads)
    uses.set(payload.toString("hex", 2, 10), (uses.get(payload.toString("hex", 2, 10)) ?? 0) + 1);
  assert.ok(uses.size >= 3, `90 seals took ${uses.size} keys`);
  assert.ok([...uses.values()].every((count) => count <= 40));
  const ring = await ringOn(t, on, limits);
  for (const payload of payloads) assert.deepEqual(await ring.open(payload, binding), text);
});

test("uses are reserved in the store before a key seals, so a crash can only waste them", async (t) => {
  const on = await backend(t);
  let writable = true;
  const store: SecretStore = {
    ...on.keyring,
    write: (...write) => (writable ? on.keyring.write(...write) : Promise.reject(new Error("the store is away"))),
  };
  const ring = await ringOn(t, on, { store, block: 2 });
  await ring.seal(text, binding);
  writable = false;
  await ring.seal(text, binding);
  await assert.rejects(ring.seal(text, binding), /the store is away/);
  writable = true;
  await ring.seal(text, binding);
});

test("a key that another replica has added is found when its first payload arrives", async (t) => {
  const on = await backend(t);
  const [one, other] = [await ringOn(t, on), await ringOn(t, on)];
  const before = await other.seal(text, binding);
  await one.rotate();
  const after = await one.seal(text, binding);
  assert.notEqual(after.toString("hex", 2, 10), before.toString("hex", 2, 10));
  assert.deepEqual(await Promise.all([other.open(after, binding), other.open(before, binding)]), [text, text]);
  assert.equal(other.keyIds.length, 2);
});

test("a payload of a key that no ring has is refused", async (t) => {
  const payload = await (await ringOn(t, await backend(t))).seal(text, binding);
  const ring = await ringOn(t, await backend(t));
  await assert.rejects(
    ring.open(payload, binding),
    (error) => error instanceof PayloadError && error.code === "unknown_key",
  );
});

test("seals and rotations of two replicas at once leave no payload that does not open", async (t) => {
  const on = await backend(t);
  const rings = await Promise.all([ringOn(t, on, { block: 3 }), ringOn(t, on, { block: 3 })]);
  const work = Array.from({ length: 100 }, async (_, index) => {
    const ring = rings[index % 2]!;
    if (index % 10 === 0) await ring.rotate();
    return ring.seal(text, binding);
  });
  for (const payload of await Promise.all(work)) {
    for (const ring of rings) assert.deepEqual(await ring.open(payload, binding), text);
  }
});

test("a ring that was replaced or removed while in use stops sealing instead of losing keys", async (t) => {
  const on = await backend(t);
  const ring = await ringOn(t, on, { block: 1 });
  await ring.seal(text, binding);
  const elsewhere = await backend(t);
  await ringOn(t, { ...elsewhere, rootKeyFile: on.rootKeyFile });
  const foreign = await elsewhere.keyring.read("ring");
  await tamper(on.keyring, "ring", () => foreign!.value);
  await assert.rejects(ring.seal(text, binding), failsWith("ring_damaged", ring.keyIds[0]!));
  const stored = await on.keyring.read("ring");
  await on.keyring.remove("ring", stored!.revision);
  await assert.rejects(ring.seal(text, binding), failsWith("ring_lost"));
});

test("a closed ring neither seals nor opens", async (t) => {
  const ring = await ringOn(t, await backend(t));
  const payload = await ring.seal(text, binding);
  ring.close();
  await assert.rejects(ring.seal(text, binding), failsWith("ring_closed"));
  await assert.rejects(ring.open(payload, binding), failsWith("ring_closed"));
});
