import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { ObjectBucket } from "@warren/mesh";
import { startNats } from "@warren/testing";
import { PluginFault } from "../../src/lifecycle/runner.ts";
import { PackageMissing, PackageStore } from "../../src/registry/store.ts";
import { packTestServer } from "../support/host.ts";

async function open(t: TestContext): Promise<{ objects: ObjectBucket; store: PackageStore; folder: string }> {
  const mesh = await (await startNats(t)).connect("plugin-host");
  const objects = await mesh.objects("plugin_packages");
  const folder = await mkdtemp(join(tmpdir(), "warren-store-"));
  const store = await PackageStore.open(objects, folder);
  t.after(async () => {
    await store.sweep(new Set(), Date.now() + 3_600_000);
    await rm(folder, { recursive: true, force: true });
  });
  return { objects, store, folder };
}

test("a package is fetched once, verified, and run from this host's own copy", async (t) => {
  const { objects, store, folder } = await open(t);
  const { bytes, digest } = await packTestServer();
  await assert.rejects(store.ensure(digest), PackageMissing);
  await store.put(bytes, digest);
  const both = await Promise.all([store.ensure(digest), store.ensure(digest)]);
  assert.equal(both[0].folder, join(folder, digest.slice(7)));
  assert.equal(both[0].manifest.id, "tester");
  await objects.delete(digest.slice(7));
  assert.equal((await store.ensure(digest)).folder, both[0].folder);
});

test("bytes that are not what the digest names are refused", async (t) => {
  const { objects, store, folder } = await open(t);
  const { digest } = await packTestServer();
  const { bytes: other } = await packTestServer({ version: "6.6.6" });
  await objects.put(digest.slice(7), other);
  await assert.rejects(
    store.ensure(digest),
    (error: unknown) => error instanceof PluginFault && /refused/.test(error.message),
  );
  assert.deepEqual(await readdir(folder), []);
  await assert.rejects(store.ensure("sha256:../../etc"), PluginFault);
});

test("a package that is still needed is not collected, nor is one that becomes needed meanwhile", async (t) => {
  const { objects, store } = await open(t);
  const { bytes, digest } = await packTestServer();
  const name = digest.slice(7);
  await store.put(bytes, digest);
  await store.collect(digest, () => Promise.resolve(true));
  assert.equal(await objects.has(name), true);
  const answers = [false, true];
  await store.collect(digest, () => Promise.resolve(answers.shift() ?? true));
  assert.equal(await objects.has(name), true);
  assert.equal((await store.ensure(digest)).digest, digest);
  await store.collect(digest, () => Promise.resolve(false));
  assert.equal(await objects.has(name), false);
});

test("the sweep removes unpacked packages that nothing needs, but none that came lately", async (t) => {
  const { store, folder } = await open(t);
  const { bytes, digest } = await packTestServer();
  await store.put(bytes, digest);
  await store.ensure(digest);
  const later = Date.now() + 3_600_000;
  await store.sweep(new Set());
  await store.sweep(new Set([digest]), later);
  assert.deepEqual(await readdir(folder), [digest.slice(7)]);
  await store.sweep(new Set(), later);
  assert.deepEqual(await readdir(folder), []);
});
