import assert from "node:assert/strict";
import test from "node:test";
import { type CallObserver, RpcError, StatusCode, statusName } from "@warren/mesh";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats } from "@warren/testing";
import { serveSecrets, user } from "./support.ts";

test("an observer is told of every call that has ended, on both sides, refused ones too", async (t) => {
  const nats = await startNats(t);
  const told: string[] = [];
  const observer = (side: string): CallObserver => {
    const tell = (what: string): CallObserver["served"] => {
      return (method, ms, code) => {
        assert.ok(ms >= 0 && ms < 60_000, String(ms));
        told.push(`${side} ${what} ${method.name} ${statusName(code)}`);
      };
    };
    return { served: tell("served"), called: tell("called") };
  };
  const gateway = await nats.connect("gateway", { observer: observer("gateway") });
  const secrets = await nats.connect("secrets", { observer: observer("secrets") });
  await serveSecrets(secrets, {
    getSecret: async ({ name }) => {
      if (name === "missing") throw new RpcError(StatusCode.NOT_FOUND, "no such secret");
      return { name };
    },
  });
  const client = gateway.client(SecretsServiceDefinition);
  const assertion = gateway.assert(user(["secrets:read"]));
  await client.getSecret({ name: "a" }, { assertion });
  await assert.rejects(client.getSecret({ name: "missing" }, { assertion }));
  await assert.rejects(client.getSecret({ name: "a" }, { assertion: gateway.assert(user(["chat"])) }));
  // The server's word comes after its answer.
  while (told.length < 6) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(told.toSorted(), [
    "gateway called GetSecret NOT_FOUND",
    "gateway called GetSecret OK",
    "gateway called GetSecret PERMISSION_DENIED",
    "secrets served GetSecret NOT_FOUND",
    "secrets served GetSecret OK",
    "secrets served GetSecret PERMISSION_DENIED",
  ]);
  assert.deepEqual(secrets.load, { calls: 0, queued: 0, routes: 0, timers: 0 });
});
