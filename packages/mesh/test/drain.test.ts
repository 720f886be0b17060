import assert from "node:assert/strict";
import test from "node:test";
import { type RpcError, StatusCode } from "@warren/mesh";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats } from "@warren/testing";
import { serveSecrets } from "./support.ts";

// That replicas which come and go lose no call is shown in cluster.test.ts, on one server and on three.

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
