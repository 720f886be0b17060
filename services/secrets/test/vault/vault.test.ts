import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { SecretStore } from "../../src/store/store.ts";
import { VaultError, type VaultErrorCode } from "../../src/vault/errors.ts";
import { joinFrames, splitFrames } from "../../src/vault/frames.ts";
import { MAX_VALUE_BYTES, Vault } from "../../src/vault/vault.ts";
import { backend, ringOn, tamper, vaultOn } from "../build.ts";

const id = { tenant: "default", name: "api.key" };
const KEY = "secret.default.api.key";
const CANARY = "canary-4f9a1c";

function failsWith(code: VaultErrorCode) {
  return (error: unknown) => {
    assert.ok(error instanceof VaultError, String(error));
    assert.equal(error.code, code);
    assert.ok(!`${error.message} ${String(error.cause)}`.includes(CANARY));
    return true;
  };
}

test("a secret is read back as it was put, and its versions count from 1", async (t) => {
  const vault = await vaultOn(t, await backend(t));
  const first = await vault.put({ ...id, value: "one", description: "for the API" });
  assert.deepEqual([first.name, first.version, first.description], ["api.key", 1, "for the API"]);
  const second = await vault.put({ ...id, value: "two" });
  assert.deepEqual([second.version, second.description, second.createTime], [2, "for the API", first.createTime]);
  assert.ok(second.updateTime > first.updateTime);
  const newest = await vault.get(id);
  assert.deepEqual(newest, { name: "api.key", version: 2, value: "two", updateTime: second.updateTime });
  assert.deepEqual(await vault.get(id, 1), { name: "api.key", version: 1, value: "one", updateTime: first.updateTime });
});

test("any text comes back unchanged", async (t) => {
  const vault = await vaultOn(t, await backend(t));
  const values = fc.string({ unit: "binary", minLength: 1, maxLength: 200 });
  await fc.assert(
    fc.asyncProperty(values, async (value) => {
      const { version } = await vault.put({ ...id, value });
      assert.equal((await vault.get(id, version)).value, value);
    }),
    { numRuns: 60 },
  );
});

test("the newest ten versions are kept", async (t) => {
  const vault = await vaultOn(t, await backend(t));
  for (let version = 1; version <= 13; version += 1) await vault.put({ ...id, value: `v${version}` });
  for (let version = 4; version <= 13; version += 1) assert.equal((await vault.get(id, version)).value, `v${version}`);
  for (const version of [1, 3, 14]) await assert.rejects(vault.get(id, version), failsWith("not_found"));
});

test("the longest value is measured in bytes, and ten versions of it fit into one entry of the mesh", async (t) => {
  const on = await backend(t);
  const vault = await vaultOn(t, on);
  const longest = "é".repeat(MAX_VALUE_BYTES / 2);
  await assert.rejects(vault.put({ ...id, value: `${longest}${CANARY}` }), failsWith("invalid_value"));
  await assert.rejects(vault.put({ ...id, value: "€".repeat(30_000) }), failsWith("invalid_value"));
  for (let version = 1; version <= 11; version += 1)
    await vault.put({ ...id, value: longest, description: "d".repeat(512) });
  assert.equal((await vault.get(id)).value, longest);
  assert.ok((await on.secrets.read(KEY))!.value.length < 700_000);
});

test("text that is not well-formed is refused instead of being stored as something else", async (t) => {
  const vault = await vaultOn(t, await backend(t));
  await assert.rejects(vault.put({ ...id, value: `${CANARY}\ud800` }), failsWith("invalid_value"));
});

test("a write for a named version happens at that version only", async (t) => {
  const vault = await vaultOn(t, await backend(t));
  await assert.rejects(vault.put({ ...id, value: CANARY, ifVersion: 1 }), failsWith("not_found"));
  assert.equal((await vault.put({ ...id, value: "one", ifVersion: 0 })).version, 1);
  await assert.rejects(vault.put({ ...id, value: CANARY, ifVersion: 0 }), failsWith("already_exists"));
  await assert.rejects(vault.put({ ...id, value: CANARY, ifVersion: 2 }), failsWith("conflict"));
  assert.equal((await vault.put({ ...id, value: "two", ifVersion: 1 })).version, 2);
  assert.equal((await vault.get(id)).value, "two");
});

test("a deleted secret is gone with every version, and a new one of its name begins at 1", async (t) => {
  const on = await backend(t);
  const vault = await vaultOn(t, on);
  await vault.put({ ...id, value: "one", description: "old" });
  await vault.put({ ...id, value: "two" });
  assert.equal(await vault.delete(id), true);
  await assert.rejects(vault.get(id), failsWith("not_found"));
  await assert.rejects(vault.get(id, 1), failsWith("not_found"));
  assert.deepEqual(await on.secrets.keys("secret"), []);
  assert.equal(await vault.delete(id), false);
  const again = await vault.put({ ...id, value: "three" });
  assert.deepEqual([again.version, again.description], [1, ""]);
});

test("a list is sorted, in pages, and of one tenant", async (t) => {
  const vault = await vaultOn(t, await backend(t));
  const names = ["b", "a.b", "a", "B", "a-b", "z_9"];
  for (const name of names) await vault.put({ tenant: "default", name, value: name, description: `about ${name}` });
  await vault.put({ tenant: "other", name: "c", value: "c" });
  const first = await vault.list("default", 4, "");
  const second = await vault.list("default", 4, first.nextPageToken);
  const listed = [...first.secrets, ...second.secrets];
  assert.deepEqual(
    listed.map(({ name }) => name),
    [...names].sort(),
  );
  assert.ok(listed.every(({ name, version, description }) => version === 1 && description === `about ${name}`));
  assert.ok(listed.every((secret) => !("value" in secret)));
  assert.equal(second.nextPageToken, "");
  assert.deepEqual(await vault.list("nobody", 4, ""), { secrets: [], nextPageToken: "" });
});

test("tenants do not meet, whatever they and their secrets are called", async (t) => {
  const vault = await vaultOn(t, await backend(t));
  const ids = [
    { tenant: "a", name: "b.c" },
    { tenant: "a.b", name: "c" },
    { tenant: "A", name: "b.c" },
    { tenant: "", name: "b.c" },
    { tenant: "*", name: "b.c" },
    { tenant: ">", name: "b.c" },
    { tenant: "=YQ", name: "b.c" },
    { tenant: "日本", name: "b.c" },
  ];
  for (const each of ids) await vault.put({ ...each, value: JSON.stringify(each) });
  for (const each of ids) {
    assert.equal((await vault.get(each)).value, JSON.stringify(each));
    assert.deepEqual(
      (await vault.list(each.tenant, 10, "")).secrets.map(({ name }) => name),
      [each.name],
    );
  }
  await vault.delete(ids[0]!);
  for (const each of ids.slice(1)) assert.equal((await vault.get(each)).value, JSON.stringify(each));
});

test("50 concurrent puts to one name on two replicas give versions 1 to 50 without a gap or a loss", async (t) => {
  const on = await backend(t);
  const replicas = [await vaultOn(t, on), await vaultOn(t, on)];
  const put = await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      const { version } = await replicas[index % 2]!.put({ ...id, value: `value ${index}` });
      return { version, value: `value ${index}` };
    }),
  );
  const byVersion = put.toSorted((a, b) => a.version - b.version);
  assert.deepEqual(
    byVersion.map(({ version }) => version),
    Array.from({ length: 50 }, (_, index) => index + 1),
  );
  for (const { version, value } of byVersion.slice(-10))
    assert.equal((await replicas[0]!.get(id, version)).value, value);
});

test("of many who create or follow the same version at once exactly one succeeds", async (t) => {
  const on = await backend(t);
  const replicas = [await vaultOn(t, on), await vaultOn(t, on)];
  for (const ifVersion of [0, 1]) {
    const tries = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) => replicas[index % 2]!.put({ ...id, value: `${index}`, ifVersion })),
    );
    assert.equal(tries.filter(({ status }) => status === "fulfilled").length, 1);
  }
});

test("a put that dies on its way to the store leaves the secret as it was", async (t) => {
  const on = await backend(t);
  const vault = await vaultOn(t, on);
  await vault.put({ ...id, value: "old" });
  const store: SecretStore = { ...on.secrets, write: () => Promise.reject(new Error("the store is away")) };
  const dying = new Vault({ store, ring: await ringOn(t, on) });
  await assert.rejects(dying.put({ ...id, value: "new" }), /the store is away/);
  assert.deepEqual(await on.secrets.keys("secret"), [KEY]);
  assert.equal((await vault.get(id)).value, "old");
  assert.equal((await vault.put({ ...id, value: "new" })).version, 2);
});

test("a cancelled put that waits for its turn writes nothing", async (t) => {
  const vault = await vaultOn(t, await backend(t));
  const reason = new Error("the caller left");
  const [kept, dropped] = await Promise.allSettled([
    vault.put({ ...id, value: "kept" }),
    vault.put({ ...id, value: "dropped" }, AbortSignal.abort(reason)),
  ]);
  assert.equal(kept.status, "fulfilled");
  assert.ok(dropped.status === "rejected" && dropped.reason === reason);
  assert.equal((await vault.get(id)).version, 1);
});

test("values swapped between the versions of a secret do not open", async (t) => {
  const on = await backend(t);
  const vault = await vaultOn(t, on);
  await vault.put({ ...id, value: `${CANARY}-1` });
  await vault.put({ ...id, value: `${CANARY}-2` });
  await tamper(on.secrets, KEY, (bytes) => {
    const [record, one, two] = splitFrames(bytes);
    return joinFrames([record!, two!, one!]);
  });
  for (const version of [0, 1, 2]) await assert.rejects(vault.get(id, version), failsWith("corrupt"));
});

test("an entry copied to another name or tenant does not open there, nor does one of its values", async (t) => {
  const on = await backend(t);
  const vault = await vaultOn(t, on);
  await vault.put({ ...id, value: CANARY });
  const stolen = (await on.secrets.read(KEY))!.value;
  const targets = [
    { tenant: "default", name: "mine" },
    { tenant: "mallory", name: "api.key" },
  ];
  for (const target of targets) {
    await vault.put({ ...target, value: "bait" });
    const key = `secret.${target.tenant}.${target.name}`;
    const own = Buffer.from((await on.secrets.read(key))!.value);
    await tamper(on.secrets, key, () => stolen);
    await assert.rejects(vault.get(target), failsWith("corrupt"));
    await assert.rejects(vault.list(target.tenant, 10, ""), failsWith("corrupt"));
    await assert.rejects(vault.put({ ...target, value: "more" }), failsWith("corrupt"));
    await tamper(on.secrets, key, () => joinFrames([splitFrames(own)[0]!, splitFrames(stolen)[1]!]));
    await assert.rejects(vault.get(target), failsWith("corrupt"));
    assert.equal(await vault.delete(target), true);
  }
});

test("a value of a deleted secret does not open in a later one of the same name", async (t) => {
  const on = await backend(t);
  const vault = await vaultOn(t, on);
  await vault.put({ ...id, value: CANARY });
  const old = (await on.secrets.read(KEY))!.value;
  await vault.delete(id);
  await vault.put({ ...id, value: "new" });
  await tamper(on.secrets, KEY, (bytes) => joinFrames([splitFrames(bytes)[0]!, splitFrames(old)[1]!]));
  await assert.rejects(vault.get(id), failsWith("corrupt"));
});

test("an entry with any byte changed, cut short, or with a version taken out does not open", async (t) => {
  const on = await backend(t);
  const vault = await vaultOn(t, on);
  await vault.put({ ...id, value: CANARY });
  const whole = Buffer.from((await on.secrets.read(KEY))!.value);
  for (let index = 0; index < whole.length; index += 1) {
    await tamper(on.secrets, KEY, () => Buffer.from(whole).fill(whole[index]! ^ 1, index, index + 1));
    await assert.rejects(vault.get(id), failsWith("corrupt"), `byte ${index}`);
  }
  for (const length of [0, 1, 3, 50, whole.length - 1]) {
    await tamper(on.secrets, KEY, () => whole.subarray(0, length));
    await assert.rejects(vault.get(id), failsWith("corrupt"), `${length} bytes`);
  }
  await tamper(on.secrets, KEY, () => joinFrames(splitFrames(whole).slice(0, 1)));
  await assert.rejects(vault.get(id), failsWith("corrupt"));
  await tamper(on.secrets, KEY, () => whole);
  assert.equal((await vault.get(id)).value, CANARY);
});

test("what the store is given holds neither values nor descriptions", async (t) => {
  const on = await backend(t);
  const vault = await vaultOn(t, on);
  await vault.put({ ...id, value: CANARY, description: `about ${CANARY}` });
  for (const store of [on.secrets, on.keyring]) {
    for (const key of await store.keys("")) {
      const bytes = Buffer.from((await store.read(key))!.value);
      for (const encoding of ["utf8", "base64", "hex"] as const) {
        assert.equal(bytes.includes(Buffer.from(CANARY).toString(encoding)), false, `${key} as ${encoding}`);
      }
    }
  }
});
