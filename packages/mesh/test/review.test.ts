import assert from "node:assert/strict";
import test from "node:test";
import { jsonCodec, type RpcError, StatusCode } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { PluginServiceDefinition } from "@warren/proto/warren/plugins/v1/plugins";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats, waitUntil } from "@warren/testing";
import { Load } from "./load.ts";
import { codeOf, serveAgent, serveSecrets, user } from "./support.ts";

test("a handler whose own call found nobody is not run again", async (t) => {
  const nats = await startNats(t);
  const [agent, gateway] = await Promise.all([nats.connect("agent"), nats.connect("gateway")]);
  const plugins = agent.client(PluginServiceDefinition);
  let runs = 0;
  await serveAgent(agent, {
    chat: async (_, ctx) => {
      runs += 1;
      await plugins.callTool({ pluginId: "clock", tool: "t" }, ctx);
      return {};
    },
  });
  const as = { assertion: gateway.assert(user(["*"])) };
  await assert.rejects(gateway.client(AgentServiceDefinition).chat({ message: "a" }, as), (error: RpcError) => {
    assert.equal(error.code, StatusCode.UNAVAILABLE);
    assert.equal(error.details.reason, "DEPENDENCY_NO_RESPONDERS");
    return true;
  });
  assert.equal(runs, 1);
});

test("a drain that meets a step aside loses no call", async (t) => {
  const nats = await startNats(t);
  const gateway = await nats.connect("gateway");
  const replica = async () => {
    const mesh = await nats.connect("secrets");
    await serveSecrets(mesh, { getSecret: async ({ name }) => ({ name }) });
    return mesh;
  };
  const steady = await replica();
  const secrets = gateway.client(SecretsServiceDefinition);
  const load = new Load(t, 32, () => secrets.getSecret({ name: "a" }));
  for (let i = 0; i < 8; i++) {
    const leaving = await replica();
    await secrets.getSecret({ name: "a" });
    const aside = leaving.stepAside();
    await leaving.drain();
    await leaving.close();
    await aside;
  }
  await load.stop();
  assert.deepEqual(load.failures, []);
  assert.equal(steady.up, true);
});

test("what is drained while NATS is away serves nothing when it is back", async (t) => {
  const nats = await startNats(t);
  const [server, gateway] = await Promise.all([nats.connect("secrets"), nats.connect("gateway")]);
  let runs = 0;
  await serveSecrets(server, {
    putSecret: async ({ name }) => {
      runs += 1;
      return { name };
    },
  });
  await nats.kill();
  await waitUntil("the loss", 5000, () => (server.up ? undefined : true));
  await server.drain();
  await nats.start();
  await waitUntil("the reconnection", 5000, () => (server.up && gateway.up ? true : undefined));
  const call = gateway.client(SecretsServiceDefinition).putSecret({ name: "a", value: "v" });
  assert.equal(await codeOf(call), StatusCode.UNAVAILABLE);
  assert.equal(runs, 0);
});

test("a stream that its reader leaves while it opens does not stay open", async (t) => {
  const nats = await startNats(t);
  const [server, gateway] = await Promise.all([nats.connect("agent"), nats.connect("gateway")]);
  const state = { begun: 0, ended: 0 };
  await serveAgent(server, {
    async *streamChat(_, ctx) {
      state.begun += 1;
      try {
        yield { sequence: 1 };
        await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
      } finally {
        state.ended += 1;
      }
    },
  });
  const stream = gateway.client(AgentServiceDefinition).streamChat({ message: "a" })[Symbol.asyncIterator]();
  const first = stream.next();
  await stream.return?.();
  assert.equal((await first).done, true);
  await waitUntil("the handler's end", 5000, () =>
    state.ended === state.begun && gateway.load.routes === 0 ? true : undefined,
  );
});

test("a bucket's listing has every key that is always there, whoever overwrites them", async (t) => {
  const nats = await startNats(t);
  const [one, two] = await Promise.all([nats.connect("auth"), nats.connect("auth")]);
  const kv = await one.kv("auth_devices", jsonCodec<number>());
  const other = await two.kv("auth_devices", jsonCodec<number>());
  const keys = Array.from({ length: 100 }, (_, i) => `k${String(i).padStart(3, "0")}`);
  for (const key of keys) await kv.put(key, 0);
  const state = { running: true };
  t.after(() => void (state.running = false));
  const writing = (async () => {
    for (let i = 1; state.running; i++) await other.put(keys[i % keys.length] ?? "k000", i);
  })();
  for (let round = 0; round < 30; round++) assert.deepEqual(await kv.keys(), keys);
  state.running = false;
  await writing;
});

test("one entry that cannot be read hides no other", async (t) => {
  const nats = await startNats(t);
  const [auth, gateway] = await Promise.all([nats.connect("auth"), nats.connect("gateway")]);
  const raw = await auth.kv("auth_revocations", { encode: (text: string) => Buffer.from(text), decode: String });
  await raw.put("bad", "{not json");
  const revocations = await gateway.kvView("auth_revocations", jsonCodec<{ at: number }>());
  const cache = await revocations.cached();
  t.after(() => cache.close());
  await raw.put("good", '{"at":1}');
  await waitUntil("the next entry", 5000, () => (cache.get("good")?.at === 1 ? true : undefined));
});
