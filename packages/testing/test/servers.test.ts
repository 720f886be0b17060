import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createConnection } from "node:net";
import test from "node:test";
import { jsonCodec, RpcError } from "@warren/mesh";
import { startNats, startRedis, waitUntil } from "@warren/testing";

/** What a test's end would run, run by hand. */
class Ending {
  readonly #ends: (() => unknown)[] = [];

  after(end: () => unknown): void {
    this.#ends.push(end);
  }

  async run(): Promise<void> {
    for (const end of this.#ends.splice(0)) await end();
  }
}

function answers(target: { path: string } | { port: number; host: string }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(target);
    socket.once("connect", () => resolve((socket.destroy(), true)));
    socket.once("error", () => resolve(false));
  });
}

test("a throwaway nats-server serves every service of the policy, and is gone with its data when the test ends", async (t) => {
  const ending = new Ending();
  t.after(() => ending.run());
  const nats = await startNats(ending as unknown as typeof t);
  const port = Number(new URL(nats.url).port);
  for (const service of ["gateway", "auth", "agent", "plugin-host", "secrets"])
    assert.ok((await nats.connect(service)).up, service);
  await ending.run();
  assert.equal(await answers({ port, host: "127.0.0.1" }), false);
  assert.equal(existsSync(nats.dataDir), false);
});

test("killed and started again it has its port and its data", async (t) => {
  const nats = await startNats(t);
  const auth = await nats.connect("auth");
  const kv = await auth.kv("auth_devices", jsonCodec<number>());
  await kv.put("kept", 7);
  const { url } = nats;
  await nats.kill();
  await waitUntil("the loss", 5000, () => (auth.up ? undefined : true));
  await assert.rejects(kv.get("kept"), RpcError);
  await nats.start();
  assert.equal(nats.url, url);
  await waitUntil("the return", 5000, () => auth.up || undefined);
  assert.equal((await kv.get("kept"))?.value, 7);
});

test("two servers of one test know nothing of each other", async (t) => {
  const [one, two] = await Promise.all([startNats(t), startNats(t)]);
  assert.notEqual(one.url, two.url);
  assert.notEqual(one.dataDir, two.dataDir);
});

test("a throwaway redis-server can be killed and started again, and is gone when the test ends", async (t) => {
  const ending = new Ending();
  t.after(() => ending.run());
  const redis = await startRedis(ending as unknown as typeof t);
  const { path } = redis;
  const first = redis.pid();
  assert.ok(await answers({ path }));
  await redis.kill();
  assert.equal(await answers({ path }), false);
  await redis.start();
  assert.notEqual(redis.pid(), first);
  assert.ok(await answers({ path }));
  // Also one that a test has stopped.
  process.kill(redis.pid(), "SIGSTOP");
  await ending.run();
  assert.equal(await answers({ path }), false);
  assert.equal(existsSync(path), false);
});
