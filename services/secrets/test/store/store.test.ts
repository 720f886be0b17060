import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesCodec } from "@warren/mesh";
import { startNats } from "@warren/testing";
import { jetstreamStore } from "../../src/store/jetstream.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { SecretStore } from "../../src/store/store.ts";

const one = new Uint8Array([1]);
const two = new Uint8Array([2]);

/** What the vault counts on, whatever the back end. */
async function keepsThePromises(store: SecretStore): Promise<void> {
  assert.equal(await store.read("a.b"), undefined);
  assert.deepEqual(await store.keys(""), []);

  const first = await store.write("a.b", one, 0);
  assert.ok(first !== undefined && first > 0);
  assert.equal(await store.write("a.b", two, 0), undefined, "a key is created once");
  assert.equal(await store.write("a.b", two, first + 1), undefined, "a write at another revision is refused");
  assert.deepEqual(Buffer.from((await store.read("a.b"))!.value), Buffer.from(one));

  const other = await store.write("a.=b", one, 0);
  assert.ok(other !== undefined && other > first, "revisions grow over all keys");
  const second = await store.write("a.b", two, first);
  assert.ok(second !== undefined && second > other);
  assert.deepEqual(await store.read("a.b").then((entry) => [entry?.revision, entry?.value[0]]), [second, 2]);

  const racing = await Promise.all(Array.from({ length: 8 }, () => store.write("a.b", one, second)));
  assert.equal(racing.filter((revision) => revision !== undefined).length, 1, "one writer wins");
  const newest = (await store.read("a.b"))!.revision;

  await store.write("ab.c", one, 0);
  await store.write("a.b.c", one, 0);
  assert.deepEqual((await store.keys("a")).toSorted(), ["a.=b", "a.b", "a.b.c"], "whole tokens are compared");
  assert.deepEqual((await store.keys("")).toSorted(), ["a.=b", "a.b", "a.b.c", "ab.c"]);

  assert.equal(await store.remove("a.b", second), false, "a removal at another revision is refused");
  assert.equal(await store.remove("a.b", newest), true);
  assert.equal(await store.read("a.b"), undefined);
  assert.equal(await store.remove("a.b", newest), false);
  assert.deepEqual((await store.keys("a")).toSorted(), ["a.=b", "a.b.c"]);
  const again = await store.write("a.b", two, 0);
  assert.ok(again !== undefined && again > newest, "a removed key is created again at a later revision");
}

test("the store in memory keeps its promises", () => keepsThePromises(memoryStore()));

test("the store on JetStream keeps the same promises", async (t) => {
  const nats = await startNats(t);
  const mesh = await nats.connect("secrets");
  await keepsThePromises(jetstreamStore(await mesh.kv("secrets", bytesCodec)));
});

test("the store on JetStream has what it was given after the server was killed, and says so while it is away", async (t) => {
  const nats = await startNats(t);
  const mesh = await nats.connect("secrets");
  const store = jetstreamStore(await mesh.kv("secrets", bytesCodec));
  const revision = await store.write("a", one, 0);
  await nats.kill();
  await assert.rejects(store.read("a"), { name: "RpcError" });
  const back = new Promise<void>((resolve) => mesh.onReconnect(resolve));
  await nats.start();
  await back;
  assert.equal((await store.read("a"))?.revision, revision);
});
