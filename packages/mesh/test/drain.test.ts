import assert from "node:assert/strict";
import test from "node:test";
import { type RpcError, StatusCode } from "@warren/mesh";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats } from "@warren/testing";
import { Load } from "./load.ts";
import { serveSecrets } from "./support.ts";

const CALLERS = 64;
const REMOVALS = 10;

test("replicas that come and go under load lose no call", async (t) => {
  const nats = await startNats(t);
  const gateway = await nats.connect("gateway");
  const replica = async () => {
    const mesh = await nats.connect("secrets");
    await serveSecrets(mesh, {
      getSecret: async ({ name }) => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        return { name };
      },
    });
    return mesh;
  };
  const secrets = gateway.client(SecretsServiceDefinition);
  let current = await replica();
  const load = new Load(t, CALLERS, () => secrets.getSecret({ name: "a" }));
  for (let i = 0; i < REMOVALS; i++) {
    const next = await replica();
    await load.more(500);
    await current.drain();
    await current.close();
    current = next;
  }
  await load.stop();
  assert.deepEqual(load.failures, []);
  assert.ok(load.calls >= REMOVALS * 500);
});

test("a handler that never ends is cut when the grace is over, and its caller is told", async (t) => {
  const nats = await startNats(t);
  const [server, gateway] = await Promise.all([nats.connect("secrets"), nats.connect("gateway")]);
  const entered = Promise.withResolvers<void>();
  await serveSecrets(server, {
    getSecret: (_, ctx) => {
      entered.resolve();
      return new Promise((_resolve, reject) =>
        ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason as Error)),
      );
    },
  });
  const call = gateway.client(SecretsServiceDefinition).getSecret({ name: "a" }, { timeoutMs: 60_000 });
  const outcome = call.then(
    () => undefined,
    (error: RpcError) => error,
  );
  await entered.promise;
  await server.drain(100);
  assert.equal((await outcome)?.code, StatusCode.UNAVAILABLE);
});
