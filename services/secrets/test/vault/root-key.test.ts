import assert from "node:assert/strict";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { KeyRingError, type KeyRingErrorCode } from "../../src/vault/errors.ts";
import { fileRootKey, identified, passphraseRootKey } from "../../src/vault/root-key.ts";
import { folder } from "../folder.ts";

function failsWith(code: KeyRingErrorCode, text = "") {
  return (error: unknown) => error instanceof KeyRingError && error.code === code && error.message.includes(text);
}

async function passphraseFile(t: TestContext, text: string): Promise<string> {
  const path = join(await folder(t), "passphrase");
  await writeFile(path, text, { mode: 0o600 });
  return path;
}

test("a root key file is made once, of mode 0600, and found again", async (t) => {
  const path = join(await folder(t), "root-key");
  const { header, key } = await fileRootKey(path).establish();
  assert.deepEqual(header, { kind: "file" });
  assert.equal(key.length, 32);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(await fileRootKey(path).unlock(header), key);
  assert.deepEqual((await fileRootKey(path).establish()).key, key);
});

test("processes of one machine that establish a root key at once get the same one", async (t) => {
  const path = join(await folder(t), "root-key");
  const made = await Promise.all(Array.from({ length: 10 }, () => fileRootKey(path).establish()));
  assert.equal(new Set(made.map(({ key }) => key.toString("hex"))).size, 1);
});

test("unlocking never makes a root key file", async (t) => {
  const path = join(await folder(t), "root-key");
  await assert.rejects(fileRootKey(path).unlock({ kind: "file" }), failsWith("root_key_missing", path));
  await assert.rejects(stat(path), { code: "ENOENT" });
});

test("a root key file of another length is refused instead of used or replaced", async (t) => {
  const path = join(await folder(t), "root-key");
  await writeFile(path, Buffer.alloc(31), { mode: 0o600 });
  await assert.rejects(fileRootKey(path).establish(), failsWith("root_key_unsafe", "31 bytes"));
  await assert.rejects(fileRootKey(path).unlock({ kind: "file" }), failsWith("root_key_unsafe"));
});

test("a passphrase gives the same key again by the stored salt, with or without a line break, and another by another salt", async (t) => {
  const rootKey = passphraseRootKey(await passphraseFile(t, "correct horse battery\n"));
  const { header, key } = await rootKey.establish();
  assert.ok(header.kind === "passphrase");
  assert.deepEqual({ N: header.N, r: header.r, p: header.p }, { N: 131_072, r: 8, p: 1 });
  const bare = passphraseRootKey(await passphraseFile(t, "correct horse battery"));
  assert.deepEqual(await bare.unlock(header), key);
  assert.notDeepEqual((await rootKey.establish()).key, key);
});

test("a missing, short or exposed passphrase is refused without being quoted", async (t) => {
  const missing = join(await folder(t), "passphrase");
  await assert.rejects(passphraseRootKey(missing).establish(), failsWith("root_key_missing", missing));
  const short = await passphraseFile(t, "hunter2\r\n");
  const notQuoted = (error: unknown) => failsWith("root_key_unsafe")(error) && !String(error).includes("hunter2");
  await assert.rejects(passphraseRootKey(short).establish(), notQuoted);
  const exposed = join(await folder(t), "exposed");
  await writeFile(exposed, "correct horse battery", { mode: 0o644 });
  await assert.rejects(passphraseRootKey(exposed).establish(), failsWith("root_key_unsafe"));
});

test("stored scrypt parameters that are cheap or endless are refused before anything is derived", async (t) => {
  const rootKey = passphraseRootKey(await passphraseFile(t, "correct horse battery"));
  const sound = { kind: "passphrase", N: 2 ** 17, r: 8, p: 1, salt: "AAAA" } as const;
  for (const change of [{ N: 2 ** 10 }, { N: 2 ** 30 }, { N: 2 ** 17 + 1 }, { r: 1 }, { p: 1000 }]) {
    await assert.rejects(rootKey.unlock({ ...sound, ...change }), failsWith("ring_damaged"));
  }
});

test("the id of a root key is the same for the same key and says nothing of it", () => {
  const key = Buffer.alloc(32, 7);
  assert.equal(identified(key).id, identified(Buffer.from(key)).id);
  assert.notEqual(identified(key).id, identified(Buffer.alloc(32, 8)).id);
  assert.match(identified(key).id, /^[0-9a-f]{16}$/);
  assert.ok(!key.toString("hex").includes(identified(key).id));
});
