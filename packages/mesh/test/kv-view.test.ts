// A bucket of another service, as its readers see it: without a consumer, and missing nothing.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import test, { type TestContext } from "node:test";
import { jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { jsonCodec, type Kv, type KvView, StatusCode } from "@warren/mesh";
import { startNats, type TestNats, waitUntil } from "@warren/testing";
import { changesRepublish } from "./nats-features.ts";
import { rawConnection } from "./raw.ts";
import { codeOf } from "./support.ts";

const codec = jsonCodec<number>();

interface Setting {
  readonly nats: TestNats;
  readonly bucket: Kv<number>;
  readonly view: KvView<number>;
}

async function setting(t: TestContext): Promise<Setting> {
  const nats = await startNats(t);
  const [auth, gateway] = await Promise.all([nats.connect("auth"), nats.connect("gateway")]);
  const [bucket, view] = await Promise.all([auth.kv("auth_keys", codec), gateway.kvView("auth_keys", codec)]);
  return { nats, bucket, view };
}

/** JetStream as the bucket's owner asks it. */
async function ownerOf(t: TestContext, nats: TestNats): Promise<JetStreamManager> {
  const raw = await rawConnection(nats, "auth");
  t.after(() => raw.close());
  return jetstreamManager(raw, { checkAPI: false });
}

test("a view reads what the owner wrote, whatever the key", async (t) => {
  const { bucket, view } = await setting(t);
  const keys = ["plain", "a/b c", "*", ">", "ü.*.x", "=x"];
  for (const [n, key] of keys.entries()) await bucket.put(key, n);
  await bucket.put("gone", 9);
  await bucket.delete("gone");
  for (const [n, key] of keys.entries()) assert.equal((await view.get(key))?.value, n);
  assert.equal(await view.get("gone"), undefined);
  assert.equal(await view.get("never"), undefined);
  const entries = await view.entries();
  assert.deepEqual(Object.fromEntries(entries.map(({ key, value }) => [key, value])), {
    plain: 0,
    "a/b c": 1,
    "*": 2,
    ">": 3,
    "ü.*.x": 4,
    "=x": 5,
  });
  const revision = await bucket.put("plain", 7);
  assert.equal((await view.get("plain"))?.revision, revision);
});

test("a watch tells what is there, that it is all, and then each change with its revision and time", async (t) => {
  const { bucket, view } = await setting(t);
  await bucket.put("a", 1);
  const told: unknown[] = [];
  const controller = new AbortController();
  const watching = (async () => {
    for await (const change of view.watch({ signal: controller.signal })) {
      if (change === "caught-up") told.push(change);
      else told.push([change.key, change.value, change.revision]);
      if (change !== "caught-up") assert.ok(Math.abs(change.created.getTime() - Date.now()) < 60_000);
    }
  })();
  await waitUntil("the end of the listing", 5000, () => told.includes("caught-up") || undefined);
  const second = await bucket.put("b.c", 2);
  await bucket.delete("a");
  await waitUntil("the changes", 5000, () => told.length === 4 || undefined);
  assert.deepEqual(told, [["a", 1, 1], "caught-up", ["b.c", 2, second], ["a", undefined, second + 1]]);
  controller.abort();
  await watching;
});

test("a cache of a view is what the bucket is, while others write, delete and write again", async (t) => {
  const { bucket, view } = await setting(t);
  for (let i = 0; i < 200; i++) await bucket.put(`k${i}`, 0);
  let running = true;
  const writing = (async () => {
    for (let i = 1; running; i++) {
      const key = `k${(i * 7) % 200}`;
      if (i % 3 === 0) await bucket.delete(key);
      else await bucket.put(key, i);
    }
  })();
  const caches = await Promise.all([1, 2, 3].map(() => view.cached()));
  t.after(() => caches.forEach((cache) => cache.close()));
  running = false;
  await writing;
  const present = Object.fromEntries((await bucket.entries()).map(({ key, value }) => [key, value]));
  for (const cache of caches)
    await waitUntil(
      "the same content",
      5000,
      () => JSON.stringify(Object.fromEntries([...cache.entries()].sort())) === JSON.stringify(present) || undefined,
    );
});

test("a change that was not heard is noticed, and the cache is right again", async (t) => {
  if (!changesRepublish(t)) return;
  const { nats, bucket, view } = await setting(t);
  await bucket.put("before", 1);
  const cache = await view.cached();
  t.after(() => cache.close());
  const { streams } = await ownerOf(t, nats);
  const { config } = await streams.info("KV_auth_keys");
  // As when a link between servers breaks for a moment: stored, and told to nobody.
  await streams.update("KV_auth_keys", { ...config, republish: undefined as never });
  await bucket.put("unheard", 2);
  await bucket.delete("before");
  await streams.update("KV_auth_keys", config);
  await waitUntil(
    "the missed changes",
    10_000,
    () => (cache.get("unheard") === 2 && !cache.get("before")) || undefined,
  );
});

test("a bucket that replaces another is noticed, too", async (t) => {
  const { nats, bucket, view } = await setting(t);
  for (let i = 0; i < 5; i++) await bucket.put("old", i);
  const cache = await view.cached();
  t.after(() => cache.close());
  await nats.kill();
  rmSync(`${nats.dataDir}/jetstream`, { recursive: true });
  await nats.start();
  const auth = await nats.connect("auth");
  const fresh = await auth.kv("auth_keys", codec);
  await fresh.put("new", 1);
  await waitUntil("the new bucket", 15_000, () => (cache.get("new") === 1 && cache.size === 1) || undefined);
});

test("an owner that meets a bucket without readers' news tells them from then on", async (t) => {
  if (!changesRepublish(t)) return;
  const nats = await startNats(t);
  const auth = await nats.connect("auth");
  await auth.kv("auth_sessions", codec);
  const { streams } = await ownerOf(t, nats);
  const { config } = await streams.info("KV_auth_sessions");
  await streams.update("KV_auth_sessions", { ...config, republish: undefined as never });
  assert.equal((await streams.info("KV_auth_sessions")).config.republish, undefined);
  const again = await (await nats.connect("auth")).kv("auth_sessions", codec);
  const cache = await (await (await nats.connect("gateway")).kvView("auth_sessions", codec)).cached();
  t.after(() => cache.close());
  await again.put("s", 1);
  await waitUntil("the news", 2000, () => cache.get("s") === 1 || undefined);
});

test("who may not read a bucket, or owns it, is told so", async (t) => {
  const { nats, view } = await setting(t);
  const [agent, auth, gateway] = await Promise.all(["agent", "auth", "gateway"].map((name) => nats.connect(name)));
  await assert.rejects(agent!.kvView("auth_keys", codec), /does not let agent read auth_keys/);
  await assert.rejects(auth!.kvView("auth_keys", codec), /does not let auth read auth_keys/);
  await assert.rejects(gateway!.kv("auth_keys", codec), /another service's/);
  await nats.kill();
  await waitUntil("the loss", 5000, async () => (await codeOf(view.get("a"))) === StatusCode.UNAVAILABLE || undefined);
  await assert.rejects(view.watch().next(), { code: StatusCode.UNAVAILABLE });
});
