import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import {
  describeFiles,
  describeFolder,
  PackageError,
  type PackageFile,
  packFolder,
  sweepStore,
  unpackInto,
} from "../src/index.ts";
import { removeTree } from "../src/folder-tree.ts";

const manifest = {
  id: "clock",
  version: "1.2.3",
  name: "Clock",
  description: "Tells the time.",
  runtime: "node",
  entry: "main.js",
};

function file(path: string, content: string | Uint8Array, executable = false): PackageFile {
  return { path, bytes: Buffer.from(content as string), executable };
}

function plugin(...more: PackageFile[]): PackageFile[] {
  return [file("plugin.json", JSON.stringify(manifest)), file("main.js", "export {};"), ...more];
}

async function newStore(t: TestContext): Promise<string> {
  const store = await mkdtemp(join(tmpdir(), "warren-store-"));
  t.after(() => removeTree(store));
  return store;
}

const refusedWith = (code: string) => (error: unknown) => error instanceof PackageError && error.code === code;

test("the same files give the same bytes, in whatever order they come", async () => {
  const files = plugin(file("lib/b.js", "b"), file("lib/a.js", "a", true), file("é.txt", "é"));
  const first = await packFolder(files);
  const second = await packFolder(files.toReversed());
  assert.equal(first.digest, second.digest);
  assert.match(first.digest, /^sha256:[0-9a-f]{64}$/);
  assert.equal(first.manifest.id, "clock");
});

test("what is packed is unpacked, read-only, under its digest", async (t) => {
  const store = await newStore(t);
  const files = plugin(
    file("bin/tool", "#!/bin/sh\n", true),
    file("data/empty", ""),
    file(`deep/${"long/".repeat(40)}name`, "x"),
  );
  const { bytes, digest } = await packFolder(files);
  const unpacked = await unpackInto(bytes, digest, store);
  assert.equal(unpacked.folder, join(store, digest.slice(7)));
  assert.equal(unpacked.manifest.version, "1.2.3");
  assert.deepEqual(await describeFolder(unpacked.folder), describeFiles(files));
  assert.equal((await stat(join(unpacked.folder, "bin/tool"))).mode & 0o7777, 0o555);
  assert.equal((await stat(join(unpacked.folder, "main.js"))).mode & 0o7777, 0o444);
  for (const folder of ["", "bin", "data"]) {
    assert.equal((await stat(join(unpacked.folder, folder))).mode & 0o7777, 0o555);
  }
  assert.deepEqual(await readdir(store), [digest.slice(7)]);
});

test("a stream is unpacked as bytes are, and again is no work", async (t) => {
  const store = await newStore(t);
  const { bytes, digest } = await packFolder(plugin());
  const pieces = Array.from({ length: Math.ceil(bytes.length / 7) }, (_, index) =>
    bytes.subarray(index * 7, index * 7 + 7),
  );
  const first = await unpackInto(Readable.from(pieces), digest, store);
  const before = await stat(first.folder);
  let read = false;
  const untouched = Readable.from(
    (async function* () {
      read = true;
      yield bytes;
    })(),
  );
  const second = await unpackInto(untouched, digest, store);
  assert.deepEqual(second, first);
  assert.equal((await stat(second.folder)).ino, before.ino);
  assert.equal(read, false);
});

test("a package of other bytes than its digest says is refused before it is read", async (t) => {
  const store = await newStore(t);
  const { bytes } = await packFolder(plugin());
  const other = `sha256:${"0".repeat(64)}`;
  await assert.rejects(unpackInto(bytes, other, store), refusedWith("DIGEST_MISMATCH"));
  await assert.rejects(unpackInto(Readable.from([bytes]), other, store), refusedWith("DIGEST_MISMATCH"));
  for (const digest of ["", "sha256:xyz", "../../etc", other.toUpperCase(), `${other}/..`]) {
    await assert.rejects(unpackInto(bytes, digest, store), refusedWith("DIGEST_MISMATCH"));
  }
  assert.deepEqual(await readdir(store), []);
});

test("files that do not fit the manifest make no package", async () => {
  const cases: [PackageFile[], string][] = [
    [[file("main.js", "")], "CONTENT_MISMATCH"],
    [[file("plugin.json", JSON.stringify(manifest))], "CONTENT_MISMATCH"],
    [plugin(file("../evil", "")), "ENTRY_REFUSED"],
    [plugin(file("/etc/evil", "")), "ENTRY_REFUSED"],
    [plugin(file("a\\b", "")), "ENTRY_REFUSED"],
    [plugin(file("a//b", "")), "ENTRY_REFUSED"],
    [plugin(file("C:evil", "")), "ENTRY_REFUSED"],
    [plugin(file("a\0", "")), "ENTRY_REFUSED"],
    [plugin(file("Main.js", "")), "ENTRY_REFUSED"],
    [plugin(file("main.js", "")), "ENTRY_REFUSED"],
    [plugin(file("lib/a", ""), file("LIB/b", "")), "ENTRY_REFUSED"],
    [plugin(file("main.js/a", "")), "ENTRY_REFUSED"],
    [plugin(file("stra\u00dfe", ""), file("STRASSE", "")), "ENTRY_REFUSED"],
    [plugin(file("\u00e9", ""), file("e\u0301", "")), "ENTRY_REFUSED"],
  ];
  for (const [files, code] of cases) {
    await assert.rejects(packFolder(files), refusedWith(code), files.map(({ path }) => path).join(" "));
  }
  await assert.rejects(packFolder(plugin(), { maxUnpackedBytes: 10 }), refusedWith("TOO_LARGE"));
  await assert.rejects(packFolder(plugin(), { maxPackageBytes: 10 }), refusedWith("TOO_LARGE"));
  await assert.rejects(packFolder(plugin(), { maxFiles: 1 }), refusedWith("TOO_LARGE"));
  const native = { ...manifest, runtime: "native" };
  await assert.rejects(packFolder([file("plugin.json", JSON.stringify(native)), file("main.js", "")]), /chmod \+x/);
});

test("a pinned file must have the pinned content, on both sides", async (t) => {
  const store = await newStore(t);
  const [entry] = describeFiles([file("main.js", "export {};")]);
  const pinned = (hash: string) => [
    file("plugin.json", JSON.stringify({ ...manifest, integrity: { "main.js": `sha256:${hash}` } })),
    file("main.js", "export {};"),
  ];
  const { bytes, digest } = await packFolder(pinned(entry?.sha256 ?? ""));
  await unpackInto(bytes, digest, store);
  await assert.rejects(packFolder(pinned("0".repeat(64))), /not the content that integrity pins/);
});

test("two processes that unpack the same package at once both succeed, and nothing else is left", async (t) => {
  const store = await newStore(t);
  const many = Array.from({ length: 200 }, (_, index) => file(`lib/${index}.js`, `export default ${index};`));
  const { bytes, digest } = await packFolder(plugin(...many));
  const archive = join(await newStore(t), "package");
  await writeFile(archive, bytes);
  const runs = Array.from({ length: 3 }, async () => {
    const script = fileURLToPath(new URL("./unpack-process.ts", import.meta.url));
    const child = spawn(process.execPath, [script, archive, digest, store], { stdio: ["ignore", "pipe", "inherit"] });
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => (out += chunk));
    const [code] = await once(child, "close");
    return { code, out };
  });
  const here = unpackInto(bytes, digest, store);
  for (const { code, out } of await Promise.all(runs)) {
    assert.equal(code, 0);
    assert.equal(out, join(store, digest.slice(7)));
  }
  assert.equal((await describeFolder((await here).folder)).length, 202);
  assert.deepEqual(await readdir(store), [digest.slice(7)]);
});

test("whoever unpacks the same package second, having begun before the first was done, gets the first one's", async (t) => {
  const store = await newStore(t);
  const { bytes, digest } = await packFolder(plugin());
  const all = await Promise.all(Array.from({ length: 4 }, () => unpackInto(bytes, digest, store)));
  for (const each of all) assert.deepEqual(each, all[0]);
  assert.deepEqual(await readdir(store), [digest.slice(7)]);
});

test("what a killed process left is swept away, what is fresh or finished stays", async (t) => {
  const store = await newStore(t);
  const { bytes, digest } = await packFolder(plugin());
  await unpackInto(bytes, digest, store);
  await mkdtemp(join(store, ".unpack-"));
  await sweepStore(store, 60_000);
  assert.equal((await readdir(store)).length, 2);
  await sweepStore(store, 60_000, Date.now() + 120_000);
  assert.deepEqual(await readdir(store), [digest.slice(7)]);
});

const segment = fc
  .string({ unit: fc.constantFrom("a", "b", "Z", "é", "_", " ", ".", "0", "你"), minLength: 1, maxLength: 30 })
  .filter((each) => each !== "." && each !== "..");
const tree = fc.dictionary(
  fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join("/")),
  fc.tuple(fc.uint8Array({ maxLength: 2000 }), fc.boolean()),
  { maxKeys: 12 },
);

test("any tree either round-trips exactly or is refused when packing", async (t) => {
  const store = await newStore(t);
  await fc.assert(
    fc.asyncProperty(tree, async (entries) => {
      const files = plugin(
        ...Object.entries(entries).map(([path, [bytes, executable]]) => ({ path, bytes, executable })),
      );
      let made;
      try {
        made = await packFolder(files);
      } catch (error) {
        assert.ok(error instanceof PackageError && error.code === "ENTRY_REFUSED");
        return;
      }
      const { folder } = await unpackInto(made.bytes, made.digest, store);
      assert.deepEqual(await describeFolder(folder), describeFiles(files));
      for (const { path, bytes } of files) assert.ok((await readFile(join(folder, path))).equals(bytes));
    }),
    { numRuns: 60 },
  );
});
