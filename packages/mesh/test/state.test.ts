import assert from "node:assert/strict";
import test from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import { jsonCodec, lostRace, StatusCode } from "@warren/mesh";
import { startNats, waitUntil } from "@warren/testing";
import { rawConnection } from "./raw.ts";
import { codeOf } from "./support.ts";

test("a bucket of keys and values", async (t) => {
  const nats = await startNats(t);
  const [one, two] = await Promise.all([nats.connect("auth"), nats.connect("auth")]);
  const kv = await one.kv("auth_devices", jsonCodec<{ n: number }>());
  const other = await two.kv("auth_devices", jsonCodec<{ n: number }>());

  await t.test("takes any key, also what NATS would not", async () => {
    for (const key of ["plain", "a/b c", "*", ">", "ü.*.x", "=x"]) {
      await kv.put(key, { n: key.length });
      assert.deepEqual((await other.get(key))?.value, { n: key.length });
    }
    assert.deepEqual((await kv.keys()).toSorted(), ["*", "=x", ">", "a/b c", "plain", "ü.*.x"].toSorted());
    assert.deepEqual(await kv.keys("ü"), ["ü.*.x"]);
    assert.deepEqual(await kv.keys("none"), []);
  });
  await t.test("lets exactly one of many create a key", async () => {
    const codes = await Promise.all(
      Array.from({ length: 20 }, (_, n) => codeOf((n % 2 ? kv : other).create("once", { n }))),
    );
    assert.equal(codes.filter((code) => code === StatusCode.OK).length, 1);
    assert.equal(codes.filter((code) => code === StatusCode.ALREADY_EXISTS).length, 19);
  });
  await t.test("updates by compare-and-set, and says who lost", async () => {
    const revision = await kv.create("counter", { n: 0 });
    await kv.update("counter", { n: 1 }, revision);
    const late = await other.update("counter", { n: 9 }, revision).catch((error: unknown) => error);
    assert.ok(lostRace(late));
    assert.deepEqual((await kv.get("counter"))?.value, { n: 1 });
  });
  await t.test("takes a deleted key anew", async () => {
    const revision = await kv.create("again", { n: 1 });
    assert.equal(await codeOf(kv.delete("again", revision + 1)), StatusCode.ABORTED);
    await kv.delete("again", revision);
    assert.equal(await kv.get("again"), undefined);
    await kv.create("again", { n: 2 });
    assert.deepEqual((await other.get("again"))?.value, { n: 2 });
  });
  await t.test("is followed by a cache", async () => {
    const cache = await other.cached();
    assert.deepEqual(cache.get("again"), { n: 2 });
    const changes: string[] = [];
    cache.onChange(({ key }) => changes.push(key));
    await kv.put("fresh", { n: 3 });
    await kv.delete("again");
    await waitUntil(
      "the changes",
      2000,
      () => (cache.get("fresh")?.n === 3 && cache.get("again") === undefined) || undefined,
    );
    assert.deepEqual(changes, ["fresh", "again"]);
    cache.close();
  });
  await t.test("has a cache also while it is empty", async () => {
    const empty = await one.kv("auth_refresh", jsonCodec<number>());
    const cache = await empty.cached();
    assert.equal(cache.size, 0);
    cache.close();
  });
});

test("a write that nobody hears is tried for a moment: after an election not all servers know at once who leads", async (t) => {
  const nats = await startNats(t);
  const kv = await (await nats.connect("auth")).kv("auth_devices", jsonCodec<number>());
  const raw = await rawConnection(nats, "auth");
  t.after(() => raw.close());
  const { streams } = await jetstreamManager(raw);
  const { config } = await streams.info("KV_auth_devices");
  const listen = (subject: string) => streams.update("KV_auth_devices", { ...config, subjects: [subject] });
  await listen("elsewhere.>");
  assert.equal(await codeOf(kv.put("a", 1)), StatusCode.UNAVAILABLE);
  const writes = [kv.put("a", 2), kv.create("b", 3)];
  await new Promise((resolve) => setTimeout(resolve, 200));
  await listen("$KV.auth_devices.>");
  await Promise.all(writes);
  assert.deepEqual((await kv.get("a"))?.value, 2);
});

test("listing a bucket and reading a log leave no consumer behind", async (t) => {
  const nats = await startNats(t);
  const [auth, agent] = await Promise.all([nats.connect("auth"), nats.connect("agent")]);
  const kv = await auth.kv("auth_devices", jsonCodec<number>());
  const log = await agent.log("agent_sessions", jsonCodec<number>());
  for (let i = 0; i < 1200; i++) await kv.put(`k${i}`, i);
  await kv.delete("k7");
  await log.append("s", 1, 0);
  for (let i = 0; i < 3; i++) {
    assert.equal((await kv.entries()).length, 1199);
    assert.equal((await log.read("s")).entries.length, 1);
  }
  for (const [service, stream] of [
    ["auth", "KV_auth_devices"],
    ["agent", "agent_sessions"],
  ] as const) {
    const raw = await rawConnection(nats, service);
    t.after(() => raw.close());
    const { streams } = await jetstreamManager(raw);
    assert.equal((await streams.info(stream)).state.consumer_count, 0, stream);
  }
});

test("a log takes one writer at a time", async (t) => {
  const nats = await startNats(t);
  const [one, two] = await Promise.all([nats.connect("agent"), nats.connect("agent")]);
  const [log, other] = await Promise.all([
    one.log("agent_sessions", jsonCodec<string>()),
    two.log("agent_sessions", jsonCodec<string>()),
  ]);
  assert.deepEqual(await log.read("s.1"), { entries: [], lastSequence: 0 });
  const first = await log.append("s.1", "a", 0);
  await log.append("s.2", "elsewhere", 0);
  const second = await other.append("s.1", "b", first);
  assert.equal(await codeOf(log.append("s.1", "c", first)), StatusCode.ABORTED);
  const { entries, lastSequence } = await log.read("s.1");
  assert.deepEqual(
    entries.map(({ value }) => value),
    ["a", "b"],
  );
  assert.equal(lastSequence, second);
  assert.deepEqual((await log.keys()).toSorted(), ["s.1", "s.2"]);
  let last = second;
  for (let i = 0; i < 600; i++) last = await log.append("s.1", `${i}`, last);
  assert.equal((await other.read("s.1")).entries.length, 602);
});

test("a bucket of objects keeps what is larger than a message", async (t) => {
  const nats = await startNats(t);
  const host = await nats.connect("plugin-host");
  const gateway = await nats.connect("gateway");
  const objects = await host.objects("plugin_packages");
  const uploads = await gateway.objects("plugin_packages");
  const data = new Uint8Array(3_000_000).map((_, i) => i % 251);
  await uploads.put("big", data);
  await uploads.put("big", data);
  assert.equal(await objects.has("big"), true);
  const stream = await objects.get("big");
  assert.ok(stream);
  assert.deepEqual(new Uint8Array(await new Response(stream).arrayBuffer()), data);
  assert.deepEqual(await objects.list(), ["big"]);
  await objects.delete("big");
  assert.equal(await objects.has("big"), false);
  assert.equal(await objects.get("big"), undefined);
});
