import assert from "node:assert/strict";
import { chmod, mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { KeyRingError } from "../../src/vault/errors.ts";
import { createPrivateFile, readPrivateFile } from "../../src/vault/private-file.ts";
import { folder } from "../folder.ts";

function isUnsafe(error: unknown): boolean {
  return error instanceof KeyRingError && error.code === "root_key_unsafe";
}

test("a private file is created with its folder, closed to others, and leaves no draft behind", async (t) => {
  const path = join(await folder(t), "deep", "key");
  assert.equal(await createPrivateFile(path, Buffer.from("abc")), true);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(join(path, ".."))).mode & 0o777, 0o700);
  assert.deepEqual(await readdir(join(path, "..")), ["key"]);
  assert.deepEqual(await readPrivateFile(path), Buffer.from("abc"));
});

test("of many who create the same file one succeeds, and everyone reads what that one wrote", async (t) => {
  const path = join(await folder(t), "key");
  const created = await Promise.all(
    Array.from({ length: 20 }, (_, index) => createPrivateFile(path, Buffer.alloc(32, index))),
  );
  assert.equal(created.filter(Boolean).length, 1);
  assert.deepEqual(await readPrivateFile(path), Buffer.alloc(32, created.indexOf(true)));
});

test("a missing file reads as undefined", async (t) => {
  assert.equal(await readPrivateFile(join(await folder(t), "key")), undefined);
});

test("a file that others may read or the group may write is refused, with the command that closes it", async (t) => {
  const path = join(await folder(t), "key");
  await writeFile(path, "abc");
  for (const mode of [0o644, 0o604, 0o660, 0o602]) {
    await chmod(path, mode);
    await assert.rejects(
      readPrivateFile(path),
      (error) => isUnsafe(error) && String(error).includes(`chmod 600 ${path}`),
    );
  }
  for (const mode of [0o600, 0o400, 0o440]) {
    await chmod(path, mode);
    assert.deepEqual(await readPrivateFile(path), Buffer.from("abc"));
  }
});

test("a folder or a large file in the place of a private file is refused", async (t) => {
  const path = await folder(t);
  await mkdir(join(path, "inside"), { mode: 0o700 });
  await writeFile(join(path, "large"), Buffer.alloc(5000), { mode: 0o600 });
  await assert.rejects(readPrivateFile(join(path, "inside")), isUnsafe);
  await assert.rejects(readPrivateFile(join(path, "large")), isUnsafe);
});
