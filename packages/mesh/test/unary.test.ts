import assert from "node:assert/strict";
import test from "node:test";
import { RpcError, StatusCode } from "@warren/mesh";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats, waitUntil } from "@warren/testing";
import { codeOf, serveSecrets, user } from "./support.ts";

test("a unary call", async (t) => {
  const nats = await startNats(t);
  const [server, gateway, host] = await Promise.all([
    nats.connect("secrets"),
    nats.connect("gateway"),
    nats.connect("plugin-host"),
  ]);
  const aborted: unknown[] = [];
  await serveSecrets(server, {
    getSecret: async ({ name }, ctx) => {
      if (name === "known")
        throw new RpcError(StatusCode.NOT_FOUND, "there is no known", { reason: "GONE", retryAfterMs: 1500 });
      if (name === "bug") throw new TypeError("the password is hunter2");
      if (name === "patient") await new Promise((resolve) => setTimeout(resolve, 5000));
      if (name === "slow")
        await new Promise((resolve) => {
          ctx.signal.addEventListener("abort", () => {
            aborted.push(ctx.signal.reason);
            resolve(undefined);
          });
        });
      return { name, value: ctx.caller.principal, version: ctx.attempt };
    },
    leaseSecret: async (_, ctx) => ({ value: ctx.caller.principal }),
  });
  const secrets = gateway.client(SecretsServiceDefinition);
  const reader = { assertion: gateway.assert(user(["secrets:read"])) };

  await t.test("answers, and names the verified caller", async () => {
    assert.deepEqual(await secrets.getSecret({ name: "a" }, reader), {
      name: "a",
      value: "device:d1",
      version: 1,
      updateTime: undefined,
    });
  });
  await t.test("is made for the calling service where no user is named", async () => {
    assert.equal((await secrets.getSecret({ name: "a" })).value, "service:gateway");
  });
  await t.test("carries the handler's error with its details", async () => {
    await assert.rejects(secrets.getSecret({ name: "known" }, reader), (error: RpcError) => {
      assert.equal(error.code, StatusCode.NOT_FOUND);
      assert.equal(error.message, "there is no known");
      assert.deepEqual(error.details, { reason: "GONE", retryAfterMs: 1500 });
      return true;
    });
  });
  await t.test("keeps the text of an unknown exception inside, and gives its id", async () => {
    await assert.rejects(secrets.getSecret({ name: "bug" }, reader), (error: RpcError) => {
      assert.equal(error.code, StatusCode.INTERNAL);
      assert.match(error.message, /[0-9a-f-]{36}/);
      assert.doesNotMatch(JSON.stringify([error.message, error.details]), /hunter2/);
      return true;
    });
  });
  await t.test("that breaks a field rule never reaches the handler, and every broken field is named", async () => {
    await assert.rejects(secrets.getSecret({ name: "a.*" }, reader), (error: RpcError) => {
      assert.equal(error.code, StatusCode.INVALID_ARGUMENT);
      assert.deepEqual(
        error.details.violations?.map(({ field }) => field),
        ["name"],
      );
      return true;
    });
  });
  await t.test("without the method's scope is denied before the handler", async () => {
    const chatter = { assertion: gateway.assert(user(["chat"])) };
    await assert.rejects(secrets.getSecret({ name: "a" }, chatter), { code: StatusCode.PERMISSION_DENIED });
    const operator = { assertion: gateway.assert(user(["*"])) };
    assert.equal(await codeOf(secrets.getSecret({ name: "a" }, operator)), StatusCode.OK);
  });
  await t.test("of an internal method is for services only, whatever a user holds", async () => {
    const lease = { name: "a", pluginId: "p", instanceId: "i" };
    const fromHost = host.client(SecretsServiceDefinition);
    assert.equal((await fromHost.leaseSecret(lease)).value, "service:plugin-host");
    await assert.rejects(secrets.leaseSecret(lease, { assertion: gateway.assert(user(["*"])) }), {
      code: StatusCode.PERMISSION_DENIED,
    });
  });
  await t.test("with a user's assertion that a service signed which may not speak for users is refused", async () => {
    const forged = { assertion: host.assert(user(["*"])) };
    assert.equal(
      await codeOf(host.client(SecretsServiceDefinition).getSecret({ name: "a" }, forged)),
      StatusCode.UNAUTHENTICATED,
    );
  });
  await t.test("ends at its deadline, and so does its handler", async () => {
    aborted.length = 0;
    const started = performance.now();
    await assert.rejects(secrets.getSecret({ name: "slow" }, { ...reader, timeoutMs: 100 }), {
      code: StatusCode.DEADLINE_EXCEEDED,
    });
    assert.ok(performance.now() - started < 2000);
    await waitUntil("the handler's signal", 2000, () => (aborted.length === 1 ? true : undefined));
  });
  await t.test("that its caller cancels is cancelled at the handler", async () => {
    aborted.length = 0;
    const controller = new AbortController();
    const call = secrets.getSecret({ name: "slow" }, { ...reader, signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    await assert.rejects(call, { code: StatusCode.CANCELLED });
    await waitUntil("the handler's signal", 2000, () => (aborted.length === 1 ? true : undefined));
    assert.equal((aborted[0] as RpcError).code, StatusCode.CANCELLED);
  });
  await t.test("that takes long is not taken for lost while its handler works", async () => {
    const call = secrets.getSecret({ name: "patient" }, { ...reader, timeoutMs: 20_000 });
    assert.equal((await call).value, "device:d1");
  });
  await t.test("whose replica is gone fails long before its deadline, and is not made twice", async () => {
    const doomed = await nats.connect("secrets");
    const other = await nats.connect("gateway");
    await server.drain(100);
    const entered = Promise.withResolvers<void>();
    let runs = 0;
    await serveSecrets(doomed, {
      putSecret: () => {
        runs += 1;
        entered.resolve();
        return new Promise(() => undefined);
      },
    });
    const started = performance.now();
    const call = other.client(SecretsServiceDefinition).putSecret({ name: "a", value: "v" }, { timeoutMs: 60_000 });
    const outcome = call.then(
      () => undefined,
      (error: RpcError) => error,
    );
    await entered.promise;
    await doomed.close();
    assert.equal((await outcome)?.code, StatusCode.UNAVAILABLE);
    assert.equal((await outcome)?.details.reason, "CALL_LOST");
    assert.ok(performance.now() - started < 10_000);
    assert.equal(runs, 1);
  });
  await t.test("to a service that nobody runs is UNAVAILABLE at once, not at its deadline", async () => {
    await server.drain(100);
    const started = performance.now();
    await assert.rejects(secrets.getSecret({ name: "a" }, reader), (error: RpcError) => {
      assert.equal(error.code, StatusCode.UNAVAILABLE);
      assert.equal(error.details.reason, "NO_RESPONDERS");
      return true;
    });
    assert.ok(performance.now() - started < 5000);
  });
  await t.test("of more than the mesh carries is refused before it is sent", async () => {
    const value = "x".repeat(2 << 20);
    await assert.rejects(secrets.putSecret({ name: "a", value }, reader), { code: StatusCode.RESOURCE_EXHAUSTED });
  });
});
