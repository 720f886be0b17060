import assert from "node:assert/strict";
import { mkdtemp, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { test, type TestContext } from "node:test";
import { createGzip, gzipSync } from "node:zlib";
import { type Headers, pack } from "tar-stream";
import { ManifestError, type PackageBounds, packageDigest, PackageError, unpackInto } from "../src/index.ts";
import { removeTree } from "../src/folder-tree.ts";

const manifest = JSON.stringify({
  id: "evil",
  version: "1.0.0",
  name: "Evil",
  description: "Tries things.",
  runtime: "node",
  entry: "main.js",
});

type Entry = Partial<Headers> & { name: string; content?: string | Buffer };

async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { content, ...header } of entries) {
    const hasBody = header.type === undefined || header.type === "contiguous-file";
    const body = hasBody ? (content ?? "") : undefined;
    archive.entry({ mode: 0o644, mtime: new Date(0), ...header }, body);
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const good: Entry[] = [
  { name: "plugin.json", content: manifest },
  { name: "main.js", content: "export {};" },
];

/** Unpacks what must be refused, into an otherwise empty place, and checks that nothing is left there. */
async function refusal(t: TestContext, bytes: Buffer, bounds: Partial<PackageBounds> = {}): Promise<unknown> {
  const root = await mkdtemp(join(tmpdir(), "warren-hostile-"));
  t.after(() => removeTree(root));
  const store = join(root, "inner", "store");
  let error: unknown;
  for (const source of [bytes, Readable.from([bytes])]) {
    error = await unpackInto(source, packageDigest(bytes), store, bounds).then(
      () => assert.fail("it was unpacked"),
      (reason: unknown) => reason,
    );
    assert.deepEqual(await readdir(root, { recursive: true }), ["inner", "inner/store"]);
  }
  return error;
}

async function codeOf(t: TestContext, entries: readonly Entry[], bounds?: Partial<PackageBounds>): Promise<string> {
  const error = await refusal(t, gzipSync(await tarOf(entries)), bounds);
  assert.ok(error instanceof PackageError, String(error));
  return error.code;
}

test("entries that are not plain files inside the root are refused", async (t) => {
  const evil: Entry[] = [
    { name: "../outside" },
    { name: "a/../../outside" },
    { name: "/etc/outside" },
    { name: "./main2.js" },
    { name: "a//b" },
    { name: "a\\..\\b" },
    { name: "C:/evil" },
    { name: "a\u202egpj.js" },
    { name: "link", type: "symlink", linkname: "/etc/passwd" },
    { name: "hard", type: "link", linkname: "main.js" },
    { name: "null", type: "character-device" },
    { name: "disk", type: "block-device" },
    { name: "pipe", type: "fifo" },
    { name: "folder", type: "directory", mode: 0o755 },
    { name: "sparse", type: "contiguous-file" },
    { name: "setuid", mode: 0o4755 },
    { name: "open", mode: 0o666 },
    { name: "long", pax: { path: "../outside" } },
    { name: "nul", pax: { path: "a\0b" } },
    { name: "main.js", content: "other" },
    { name: "MAIN.JS" },
    { name: "Plugin.JSON" },
    { name: "main.js/x" },
  ];
  for (const entry of evil) assert.equal(await codeOf(t, [...good, entry]), "ENTRY_REFUSED", JSON.stringify(entry));
});

test("a link cannot prepare the way for a file through it", async (t) => {
  const entries: Entry[] = [
    { name: "lib", type: "symlink", linkname: "/tmp" },
    { name: "lib/evil", content: "x" },
    ...good,
  ];
  assert.equal(await codeOf(t, entries), "ENTRY_REFUSED");
});

test("too many files, or too many folders for few files, are refused", async (t) => {
  const many = Array.from({ length: 50 }, (_, index) => ({ name: `f${index}` }));
  assert.equal(await codeOf(t, [...good, ...many], { maxFiles: 20 }), "TOO_LARGE");
  const deep = [{ name: `${"d/".repeat(100)}f` }];
  assert.equal(await codeOf(t, [...good, ...deep], { maxFiles: 20 }), "TOO_LARGE");
});

test("files that are too big together are refused by their headers", async (t) => {
  const big = [
    { name: "a", content: Buffer.alloc(600) },
    { name: "b", content: Buffer.alloc(600) },
  ];
  assert.equal(await codeOf(t, [...good, ...big], { maxUnpackedBytes: 1200 }), "TOO_LARGE");
});

test("a package that is too big itself is refused", async (t) => {
  assert.equal(await codeOf(t, good, { maxPackageBytes: 64 }), "TOO_LARGE");
});

test("a decompression bomb is stopped while it unfolds, also where no header speaks of it", async (t) => {
  const zeros = Buffer.alloc(1024 * 1024);
  const gzip = createGzip({ level: 9 });
  Readable.from(
    (async function* () {
      yield await tarOf(good); // its end marker is followed by a flood that a tar reader skips
      for (let index = 0; index < 200; index++) yield zeros;
    })(),
  ).pipe(gzip);
  const chunks: Buffer[] = [];
  for await (const chunk of gzip) chunks.push(chunk);
  const bomb = Buffer.concat(chunks);
  assert.ok(bomb.length < 300_000);
  const before = process.memoryUsage().rss;
  const error = await refusal(t, bomb, { maxUnpackedBytes: 1024 * 1024, maxFiles: 100 });
  assert.ok(error instanceof PackageError && error.code === "TOO_LARGE", String(error));
  assert.ok(process.memoryUsage().rss - before < 100 * 1024 * 1024);
});

test("what is no gzip'd tar, or only a part of one, is damaged", async (t) => {
  const whole = gzipSync(await tarOf([...good, { name: "data", content: Buffer.alloc(5000, "x") }]));
  const wrongChecksum = await tarOf(good);
  wrongChecksum[0] = 0x7a;
  const negativeSize = await tarOf(good);
  negativeSize[124] = 0xff;
  const cases = [
    Buffer.from("hello"),
    whole.subarray(0, whole.length - 20),
    gzipSync((await tarOf(good)).subarray(0, 700)),
    gzipSync(Buffer.alloc(512, 1)),
    gzipSync(wrongChecksum),
    gzipSync(negativeSize),
  ];
  for (const bytes of cases) {
    const error = await refusal(t, bytes);
    assert.ok(error instanceof PackageError && error.code === "DAMAGED", String(error));
  }
});

test("a package whose content is not what the manifest says is refused", async (t) => {
  assert.equal(await codeOf(t, []), "CONTENT_MISMATCH");
  assert.equal(await codeOf(t, [{ name: "main.js" }]), "CONTENT_MISMATCH");
  assert.equal(await codeOf(t, [{ name: "plugin.json", content: manifest }]), "CONTENT_MISMATCH");
  const pinned = JSON.stringify({ ...JSON.parse(manifest), integrity: { "main.js": `sha256:${"0".repeat(64)}` } });
  assert.equal(await codeOf(t, [{ name: "plugin.json", content: pinned }, { name: "main.js" }]), "CONTENT_MISMATCH");
  const error = await refusal(t, gzipSync(await tarOf([{ name: "plugin.json", content: "{" }, { name: "main.js" }])));
  assert.ok(error instanceof ManifestError);
});
