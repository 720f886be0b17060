import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { memoryStore } from "../../src/store/memory.ts";
import type { SecretStore } from "../../src/store/store.ts";
import { RollbackWatch } from "../../src/vault/rollback.ts";
import { type Backend, backend, ringOn } from "../build.ts";

async function watchOn(t: TestContext, on: Backend, store: SecretStore = on.secrets, accepted?: number) {
  const ring = await ringOn(t, on);
  const notices: string[] = [];
  const errors: unknown[] = [];
  const onRollback = (notice: string) => notices.push(notice);
  const watch = new RollbackWatch({ store, ring, onRollback, onError: (error) => errors.push(error), accepted });
  await watch.start();
  return { ring, watch, notices, errors };
}

/** A bucket with so many writes behind it. */
async function storeAt(revision: number): Promise<SecretStore> {
  const store = memoryStore();
  for (let written = 0; written < revision; written += 1) await store.write(`other.${written}`, new Uint8Array(), 0);
  return store;
}

test("starts, writes and stops of several replicas give no alarm", async (t) => {
  const on = await backend(t);
  const replicas = await Promise.all([watchOn(t, on), watchOn(t, on), watchOn(t, on)]);
  for (const { watch } of replicas) {
    const written = watch.observeWrite();
    written((await on.secrets.write(`secret.${Math.random()}`, new Uint8Array(), 0)) ?? 0);
    await watch.stop();
  }
  for (const { notices, watch } of [...replicas, await watchOn(t, on)]) {
    assert.deepEqual(notices, []);
    assert.equal(watch.notice, undefined);
  }
});

test("a bucket set back to an earlier state is noticed at the next start, and at every one after", async (t) => {
  const on = await backend(t);
  await watchOn(t, on, await storeAt(20));
  for (let start = 0; start < 2; start += 1) {
    const { notices, watch } = await watchOn(t, on, await storeAt(5));
    assert.equal(notices.length, 1);
    assert.match(notices[0]!, /revision 6 but was at 21 .*WARREN_SECRETS_ACCEPT_GENERATION=21/);
    assert.equal(watch.notice, notices[0]);
  }
});

test("a roll-back that a person accepts by its generation is noticed no more, and the next one is", async (t) => {
  const on = await backend(t);
  await watchOn(t, on, await storeAt(20));
  assert.equal((await watchOn(t, on, await storeAt(5), 99)).notices.length, 1);
  assert.deepEqual((await watchOn(t, on, await storeAt(5), 21)).notices, []);
  assert.deepEqual((await watchOn(t, on, await storeAt(7))).notices, []);
  assert.equal((await watchOn(t, on, await storeAt(2), 21)).notices.length, 1);
});

test("a bucket set back while the service runs is noticed at the next write, once", async (t) => {
  const on = await backend(t);
  const { watch, notices } = await watchOn(t, on, await storeAt(20));
  watch.observeWrite()(3);
  watch.observeWrite()(4);
  assert.equal(notices.length, 1);
});

test("writes since the last start are remembered at a stop and after every 256", async (t) => {
  const on = await backend(t);
  const { watch, ring } = await watchOn(t, on);
  watch.observeWrite()(100);
  assert.equal(ring.generation, 1);
  await watch.stop();
  assert.equal(ring.generation, 100);
  watch.observeWrite()(400);
  while (ring.generation !== 400) await new Promise(setImmediate);
});

test("a ring that cannot be written at a stop is reported, and stops nothing", async (t) => {
  const on = await backend(t);
  const { watch, ring, errors } = await watchOn(t, on);
  watch.observeWrite()(100);
  ring.close();
  await watch.stop();
  assert.equal(errors.length, 1);
});
