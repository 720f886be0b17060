import assert from "node:assert/strict";
import test from "node:test";
import { startNats } from "@warren/testing";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { jsonCodec } from "@warren/mesh";

test("smoke", async (t) => {
  let t0 = performance.now();
  const lap = (s: string) => {
    console.log(s, Math.round(performance.now() - t0));
    t0 = performance.now();
  };
  const nats = await startNats(t);
  lap("nats");
  const secrets = await nats.connect("secrets");
  lap("connect");
  const gateway = await nats.connect("gateway");
  await secrets.serve(SecretsServiceDefinition, {
    putSecret: async (r) => ({ name: r.name, version: 1 }),
    getSecret: async (r, ctx) => ({ name: r.name, value: ctx.caller.principal }),
    listSecrets: async () => ({}),
    deleteSecret: async () => ({}),
    leaseSecret: async () => ({}),
    revokeLeases: async () => ({}),
  });
  lap("serve");
  const client = gateway.client(SecretsServiceDefinition);
  console.log(await client.getSecret({ name: "a" }));
  await assert.rejects(client.getSecret({ name: "*" }), (e: any) => {
    console.log(e);
    return true;
  });
  lap("call");
  const kv = await secrets.kv("secrets", jsonCodec<{ a: number }>());
  lap("kv");
  console.log(
    await kv.create("x.y/z", { a: 1 }),
    await kv.get("x.y/z"),
    await kv.entries(),
    await kv.keys("x"),
    await kv.keys("q"),
  );
  await assert.rejects(kv.create("x.y/z", { a: 1 }), (e: any) => {
    console.log(e.message, e.code);
    return true;
  });
  await kv.delete("x.y/z");
  console.log(await kv.get("x.y/z"), await kv.create("x.y/z", { a: 2 }));
  lap("kvops");
  const cache = await kv.cached();
  lap("cache");
  console.log([...cache.entries()]);
  t0 = performance.now();
  for (let i = 0; i < 2000; i++) await client.getSecret({ name: "a" });
  console.log("us/call seq", (performance.now() - t0) / 2);
  t0 = performance.now();
  await Promise.all(
    Array.from({ length: 64 }, async () => {
      for (let i = 0; i < 200; i++) await client.getSecret({ name: "a" });
    }),
  );
  console.log("calls/s 64", 12800 / ((performance.now() - t0) / 1000));
  t0 = performance.now();
  await nats.restart();
  lap("restart");
  for (;;) {
    try {
      await client.getSecret({ name: "a" });
      break;
    } catch (e: any) {
      await new Promise((r) => setTimeout(r, 20));
    }
  }
  lap("again");
  await kv.put("after", { a: 3 });
  for (; !cache.get("after");) await new Promise((r) => setTimeout(r, 5));
  lap("cache again");
  cache.close();
});
