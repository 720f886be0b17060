import assert from "node:assert/strict";
import test from "node:test";
import { connectMesh, jsonCodec, type RpcError, StatusCode } from "@warren/mesh";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { silentLog, startNats, waitUntil } from "@warren/testing";
import { credentialsOf } from "./raw.ts";
import { codeOf, serveSecrets } from "./support.ts";

test("when NATS goes away and comes back", async (t) => {
  const nats = await startNats(t);
  const [server, gateway] = await Promise.all([nats.connect("secrets"), nats.connect("gateway")]);
  const entered = Promise.withResolvers<void>();
  await serveSecrets(server, {
    getSecret: async ({ name }) => {
      if (name === "hang") {
        entered.resolve();
        await new Promise(() => undefined);
      }
      return { name };
    },
  });
  const secrets = gateway.client(SecretsServiceDefinition);
  const kv = await server.kv("secrets", jsonCodec<number>());
  await kv.put("kept", 1);
  await kv.put("gone", 1);
  const cache = await kv.cached();
  t.after(() => cache.close());
  const pending = secrets.putSecret({ name: "a", value: "v" }, { timeoutMs: 60_000 }).catch(() => undefined);
  await pending;
  const hanging = secrets.getSecret({ name: "hang" }, { timeoutMs: 3000 });
  const outcome = hanging.then(
    () => undefined,
    (error: RpcError) => error,
  );
  await entered.promise;

  await nats.kill();
  await t.test("a call that waits fails at once", async () => {
    const started = performance.now();
    await waitUntil("the loss", 2000, () => (gateway.up ? undefined : true));
    assert.equal((await outcome)?.code, StatusCode.UNAVAILABLE);
    assert.ok(performance.now() - started < 2500);
  });
  await t.test("new calls and state fail fast instead of hanging", async () => {
    const started = performance.now();
    assert.equal(await codeOf(secrets.putSecret({ name: "a", value: "v" })), StatusCode.UNAVAILABLE);
    assert.equal(await codeOf(kv.get("kept")), StatusCode.UNAVAILABLE);
    assert.ok(performance.now() - started < 1000);
  });
  await t.test("a cache still holds what it knew", () => assert.equal(cache.get("kept"), 1));

  await nats.start();
  await t.test("calls, state and caches work again within 5 s", async () => {
    const started = performance.now();
    await waitUntil(
      "an answer",
      5000,
      async () => (await codeOf(secrets.getSecret({ name: "b" }))) === StatusCode.OK || undefined,
    );
    assert.equal((await kv.get("kept"))?.value, 1);
    await kv.delete("gone");
    await kv.put("new", 2);
    await waitUntil(
      "the cache's news",
      5000,
      () => (cache.get("new") === 2 && cache.get("gone") === undefined) || undefined,
    );
    assert.ok(performance.now() - started < 5000);
  });
});

test("a mesh that cannot be joined leaves no connection behind, which would keep its process alive", async (t) => {
  const nats = await startNats(t);
  const sockets = (): number => process.getActiveResourcesInfo().filter((each) => each === "TCPSocketWrap").length;
  const before = sockets();
  const credentials = { ...credentialsOf(nats, "gateway"), service: "nobody" };
  await assert.rejects(connectMesh({ servers: [nats.url], credentials, log: silentLog }), /has no service nobody/);
  await waitUntil("the end of the connection", 5000, () => sockets() <= before || undefined);
});
