// The wire protocol from the other side: a client in another language, in a process of its own, against services that
// speak it with @warren/mesh.
import assert from "node:assert/strict";
import test from "node:test";
import { type CallContext, type Handlers, type Mesh, RpcError, StatusCode } from "@warren/mesh";
import { PluginServiceDefinition } from "@warren/proto/warren/plugins/v1/plugins";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats, waitUntil } from "@warren/testing";
import { aborted, listen, python, rawConnection, type Said } from "./support.ts";

const SECRETS = "warren.secrets.v1.SecretsService";
const PLUGINS = "warren.plugins.v1.PluginService";

function serveSecrets(mesh: Mesh, getSecret: Handlers<typeof SecretsServiceDefinition>["getSecret"]): Promise<void> {
  const rest = new Proxy({ getSecret } as Handlers<typeof SecretsServiceDefinition>, {
    get: (given, name) => given[name as keyof typeof given] ?? (() => Promise.resolve({})),
  });
  return mesh.serve(SecretsServiceDefinition, rest);
}

test("a unary call from Python", async (t) => {
  const nats = await startNats(t);
  const secrets = await nats.connect("secrets");
  const calls: CallContext[] = [];
  const endings: RpcError[] = [];
  await serveSecrets(secrets, async ({ name }, ctx) => {
    calls.push(ctx);
    if (name === "refuse")
      throw new RpcError(StatusCode.FAILED_PRECONDITION, "nicht möglich", {
        reason: "NOT_NOW",
        metadata: { since: "Tuesday" },
        retryAfterMs: 1500,
      });
    if (name === "slow") endings.push(await aborted(ctx));
    return { name, value: "geheim: ü" };
  });
  const call = (scenario: object, service?: string): Promise<Said> =>
    python(t, nats, { run: "call", method: `${SECRETS}/GetSecret`, ...scenario }, service).said();

  await t.test("is answered, and brings deadline, idempotency key and the service's own assertion", async () => {
    const { answer } = await call({ texts: ["a"], timeout: 5, idempotency_key: "k 1/ü" });
    assert.deepEqual(answer, { 1: "a", 3: "geheim: ü" });
    const ctx = calls.at(-1);
    assert.equal(ctx?.idempotencyKey, "k 1/ü");
    assert.equal(ctx?.attempt, 1);
    assert.equal(ctx?.caller.principal, "service:gateway");
    const remaining = (ctx?.deadline ?? 0) - performance.now();
    assert.ok(remaining > 0 && remaining <= 5000, `${remaining} ms remain of 5000`);
  });
  await t.test("that breaks the contract fails with the fields that do", async () => {
    const { code, violations } = await call({});
    assert.equal(code, "INVALID_ARGUMENT");
    assert.deepEqual(
      (violations as { field: string }[]).map(({ field }) => field),
      ["name"],
    );
  });
  await t.test("that the handler refuses fails with what the handler said", async () => {
    const { seconds: _, ...error } = await call({ texts: ["refuse"] });
    assert.deepEqual(error, {
      code: "FAILED_PRECONDITION",
      message: "nicht möglich",
      reason: "NOT_NOW",
      metadata: { since: "Tuesday" },
      violations: [],
      retry_after: 1.5,
    });
  });
  await t.test("ends at its deadline on both sides", async () => {
    const { code, seconds } = await call({ texts: ["slow"], timeout: 0.3 });
    assert.equal(code, "DEADLINE_EXCEEDED");
    assert.ok((seconds as number) >= 0.3 && (seconds as number) < 1.5, `${String(seconds)} s`);
    const ending = await waitUntil("the handler's end", 5000, () => endings.shift());
    assert.equal(ending.code, StatusCode.DEADLINE_EXCEEDED);
  });
  await t.test("that is cancelled reaches the handler", async () => {
    const before = calls.length;
    const client = python(t, nats, { run: "cancel", method: `${SECRETS}/GetSecret` });
    await waitUntil("the call", 10_000, () => (calls.length > before ? true : undefined));
    client.goOn();
    assert.deepEqual(await client.said(), { cancelled: true });
    const ending = await waitUntil("the handler's end", 5000, () => endings.shift());
    assert.equal(ending.code, StatusCode.CANCELLED);
  });
  await t.test("to a service that nobody serves is UNAVAILABLE", async () => {
    const { code, reason } = await call({ method: "warren.auth.v1.AuthService/ListDevices" });
    assert.deepEqual([code, reason], ["UNAVAILABLE", "NO_RESPONDERS"]);
  });
  await t.test("that the mesh's policy does not allow fails at once, and the connection lives on", async () => {
    const { code, reason, seconds } = await call({ method: "warren.nowhere.v1.NoService/Nothing" });
    assert.deepEqual([code, reason], ["PERMISSION_DENIED", "POLICY"]);
    assert.ok((seconds as number) < 1);
  });
  await t.test("that is too large is not sent", async () => {
    const before = calls.length;
    const { code, reason } = await call({ texts: ["x".repeat(60_000)], repeat: 18 });
    assert.deepEqual([code, reason], ["RESOURCE_EXHAUSTED", "TOO_LARGE"]);
    assert.equal(calls.length, before);
  });
  await t.test("for a user is made in the user's name, with the user's scopes", async () => {
    const user = { principal: "device:dü1", device: "dü1", scopes: ["secrets:read"], address: "192.0.2.7" };
    assert.deepEqual((await call({ texts: ["a"], user }))["answer"], { 1: "a", 3: "geheim: ü" });
    const { expiresAt: _, ...caller } = calls.at(-1)?.caller ?? { expiresAt: 0 };
    assert.deepEqual(caller, { ...user, tenant: "default" });
    const { code, reason, metadata } = await call({ method: `${SECRETS}/PutSecret`, texts: ["a", "b"], user });
    assert.deepEqual([code, reason], ["PERMISSION_DENIED", "SCOPE_MISSING"]);
    assert.deepEqual(metadata, { scope: "secrets:write" });
  });
  await t.test("for a user is refused when the assertion has expired, or its service may not make it", async () => {
    const user = { principal: "device:d1", scopes: ["secrets:read"] };
    const before = calls.length;
    const expired = await call({ texts: ["a"], user: { ...user, expires_at: Date.now() / 1000 - 60 } });
    const forged = await call({ texts: ["a"], user }, "plugin-host");
    for (const { code, reason } of [expired, forged])
      assert.deepEqual([code, reason], ["UNAUTHENTICATED", "CALLER_REFUSED"]);
    assert.match(String(expired["message"]), /expired/);
    assert.match(String(forged["message"]), /may not speak/);
    assert.equal(calls.length, before);
  });
  await t.test("fails at once when NATS goes, and so does every later one", async () => {
    const before = calls.length;
    const client = python(t, nats, { run: "lost" });
    await waitUntil("the calls", 10_000, () => (calls.length === before + 2 ? true : undefined));
    await nats.kill();
    await waitUntil("the loss of the connection", 5000, () => (secrets.up ? undefined : true));
    for (const said of [await client.said(), await client.said(), await client.said()])
      assert.deepEqual([said["code"], said["reason"]], ["UNAVAILABLE", "DISCONNECTED"]);
  });
});

test("a long unary call from Python goes on as long as a replica says that it works on it", async (t) => {
  const nats = await startNats(t);
  const secrets = await nats.connect("secrets");
  const gate = Promise.withResolvers<void>();
  await serveSecrets(secrets, async ({ name }) => {
    await gate.promise;
    return { name };
  });
  const probes = await listen(await rawConnection(t, nats, "secrets"), `mesh.${SECRETS}._probe`);
  const client = python(t, nats, { run: "call", method: `${SECRETS}/GetSecret`, texts: ["a"], timeout: 30 });
  // One more than may go without an answer.
  await waitUntil("four probes", 20_000, () => (probes.length >= 4 ? true : undefined));
  gate.resolve();
  assert.deepEqual((await client.said())["answer"], { 1: "a" });
});

test("a unary call from Python whose replica is gone is lost, not left to its deadline", async (t) => {
  const nats = await startNats(t);
  const secrets = await nats.connect("secrets");
  const taken = Promise.withResolvers<void>();
  await serveSecrets(secrets, () => {
    taken.resolve();
    return new Promise(() => undefined);
  });
  const client = python(t, nats, { run: "call", method: `${SECRETS}/GetSecret`, texts: ["a"], timeout: 30 });
  await taken.promise;
  await secrets.close();
  const { code, reason, seconds } = await client.said();
  assert.deepEqual([code, reason], ["UNAVAILABLE", "CALL_LOST"]);
  assert.ok((seconds as number) < 10);
});

test("a keyed call from Python goes to who holds the key, else to anybody", async (t) => {
  const nats = await startNats(t);
  const [holder, other] = await Promise.all([nats.connect("plugin-host"), nats.connect("plugin-host")]);
  const served: string[] = [];
  const handlers = (name: string): Handlers<typeof PluginServiceDefinition> =>
    new Proxy({} as Handlers<typeof PluginServiceDefinition>, {
      get: () => () => {
        served.push(name);
        return Promise.resolve({});
      },
    });
  await other.serve(PluginServiceDefinition, handlers("other"));
  await holder.serve(PluginServiceDefinition, handlers("holder"));
  await holder.stepAside();
  await holder.serveKey(PluginServiceDefinition, "callTool", "clock");
  const call = (key: string): Promise<Said> =>
    python(t, nats, { run: "call", method: `${PLUGINS}/CallTool`, texts: [key, "now"], key }).said();
  assert.deepEqual((await call("clock"))["answer"], {});
  assert.deepEqual((await call("nobody"))["answer"], {});
  assert.deepEqual(served, ["holder", "other"]);
  assert.equal((await call("a.b"))["code"], "INVALID_ARGUMENT");
  assert.equal(served.length, 2);
});
