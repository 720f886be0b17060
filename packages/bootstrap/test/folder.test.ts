import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { ensureFolder, partNames } from "@warren/bootstrap";

function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "warren-bootstrap-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Every file by its path, with its content. */
function contents(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files.map(({ parentPath, name }) => [
      join(parentPath, name).slice(folder.length + 1),
      readFileSync(join(parentPath, name), "base64"),
    ]),
  );
}

test("a folder a part, readable by its owner only, and one that no container mounts", (t) => {
  const folder = makeFolder(t);
  const written = ensureFolder({ folder });
  assert.deepEqual(readdirSync(folder).sort(), ["bootstrap", ...partNames()].sort());
  for (const path of written) assert.equal(statSync(path).mode & 0o777, 0o600, path);
  for (const part of readdirSync(folder)) assert.equal(statSync(join(folder, part)).mode & 0o777, 0o700, part);
  assert.equal(written.length, Object.keys(contents(folder)).length);
});

test("run again, it writes nothing; after a loss it writes the same again", (t) => {
  const folder = makeFolder(t);
  ensureFolder({ folder });
  const before = contents(folder);
  assert.deepEqual(ensureFolder({ folder }), []);
  rmSync(join(folder, "agent"), { recursive: true });
  writeFileSync(join(folder, "gateway", "mesh.json"), "half of it");
  chmodSync(join(folder, "auth"), 0o755);
  assert.deepEqual(ensureFolder({ folder }).sort(), [
    join(folder, "agent", "mesh.json"),
    join(folder, "gateway", "mesh.json"),
  ]);
  assert.deepEqual(contents(folder), before);
  assert.equal(statSync(join(folder, "auth")).mode & 0o777, 0o700);
});

test("what is renewed changes where it is used, and nowhere else", (t) => {
  const folder = makeFolder(t);
  ensureFolder({ folder });
  const before = contents(folder);
  ensureFolder({ folder, renew: ["redis"] });
  const after = contents(folder);
  const changed = Object.keys(before).filter((path) => before[path] !== after[path]);
  assert.deepEqual(changed.sort(), ["bootstrap/material.json", "gateway/redis-password", "redis/redis.conf"]);
});

test("the parts are given to another user, the material is not", { skip: process.getuid?.() !== 0 }, (t) => {
  const folder = makeFolder(t);
  ensureFolder({ folder, owner: { uid: 10001, gid: 10001 } });
  assert.equal(statSync(join(folder, "auth")).uid, 10001);
  assert.equal(statSync(join(folder, "auth", "operator-token")).uid, 10001);
  assert.equal(statSync(join(folder, "bootstrap")).uid, 0);
  assert.equal(statSync(join(folder, "bootstrap", "material.json")).uid, 0);
});

test("damaged material is not replaced", (t) => {
  const folder = makeFolder(t);
  ensureFolder({ folder });
  const path = join(folder, "bootstrap", "material.json");
  writeFileSync(path, "{");
  assert.throws(() => ensureFolder({ folder }), /damaged/);
  assert.equal(readFileSync(path, "utf8"), "{");
});
