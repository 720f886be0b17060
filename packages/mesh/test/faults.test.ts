import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { bytesCodec, type CallContext, type CallerAssertion, type Handlers, RpcError, StatusCode } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { ServiceStarted } from "@warren/proto/warren/events/v1/events";
import { PluginServiceDefinition } from "@warren/proto/warren/plugins/v1/plugins";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats, startNatsCluster, waitUntil } from "@warren/testing";
import { startChild } from "./child.ts";
import { Load } from "./load.ts";
import { codeOf, serveAgent, serveSecrets, user } from "./support.ts";

const MiB = 1 << 20;

/** What a call ended with, and after how many milliseconds. */
async function outcomeOf(call: Promise<unknown>): Promise<{ error: RpcError | undefined; ms: number }> {
  const started = performance.now();
  const error = await call.then(
    () => undefined,
    (thrown: RpcError) => thrown,
  );
  return { error, ms: performance.now() - started };
}

test("kill -9 of the process that serves a call: its caller learns it in seconds, and nobody runs it again", async (t) => {
  const nats = await startNats(t);
  const [survivor, gateway] = await Promise.all([nats.connect("secrets"), nats.connect("gateway")]);
  const ranHere = new Set<string>();
  await serveSecrets(survivor, {
    putSecret: async ({ name }) => {
      ranHere.add(name);
      return { name };
    },
  });
  const child = await startChild(t, "never-answers", nats.url, nats.credentialsFile("secrets"));
  const secrets = gateway.client(SecretsServiceDefinition);
  const calls = Array.from({ length: 40 }, (_, i) =>
    outcomeOf(secrets.putSecret({ name: `n${i}`, value: "v" }, { timeoutMs: 60_000 })),
  );
  const ranThere = (): string[] =>
    child.lines.filter((line) => line.startsWith("runs ")).map((line) => line.slice("runs ".length));
  await waitUntil("every call at work", 5000, () => ranHere.size + ranThere().length === calls.length || undefined);
  child.signal("SIGKILL");
  const outcomes = await Promise.all(calls);
  const lost = outcomes.flatMap(({ error, ms }, i) => (error ? [{ name: `n${i}`, error, ms }] : []));
  assert.ok(lost.length > 0, "NATS gave the child no call");
  assert.deepEqual(new Set(lost.map(({ name }) => name)), new Set(ranThere()));
  for (const { name, error, ms } of lost) {
    assert.ok(error instanceof RpcError, String(error));
    assert.equal(error.code, StatusCode.UNAVAILABLE);
    assert.equal(error.details.reason, "CALL_LOST");
    assert.ok(ms < 8000, `${ms} ms`);
    assert.ok(!ranHere.has(name), `${name} was run a second time`);
  }
});

test("NATS restarts under load: what waits fails at once, calls are back in 5 s, each answered call ran once", async (t) => {
  const nats = await startNats(t);
  const [server, gateway] = await Promise.all([nats.connect("secrets"), nats.connect("gateway")]);
  const runs = new Map<string, number>();
  await serveSecrets(server, {
    putSecret: async ({ name }) => {
      runs.set(name, (runs.get(name) ?? 0) + 1);
      await new Promise((resolve) => setTimeout(resolve, 3));
      return { name };
    },
  });
  const secrets = gateway.client(SecretsServiceDefinition);
  const waiting = new Set<string>();
  const answered: string[] = [];
  const errors: RpcError[] = [];
  const load = new Load(t, 64, async (number) => {
    const name = `n${number}`;
    waiting.add(name);
    const { error } = await outcomeOf(secrets.putSecret({ name, value: "v" }, { timeoutMs: 60_000 }));
    waiting.delete(name);
    if (error) errors.push(error);
    else answered.push(name);
    if (error) await new Promise((resolve) => setTimeout(resolve, 5));
  });
  for (let restart = 1; restart <= 2; restart++) {
    const before = answered.length;
    await waitUntil("load", 5000, () => answered.length > before + 500 || undefined);
    await nats.kill();
    await waitUntil("the loss", 2000, () => !gateway.up || undefined);
    const left = [...waiting];
    await waitUntil("the end of what waited", 500, () => left.every((name) => !waiting.has(name)) || undefined);
    await nats.start();
    const started = performance.now();
    const then = answered.length;
    await waitUntil("calls again", 5000, () => answered.length > then + 100 || undefined);
    assert.ok(performance.now() - started < 5000);
  }
  await load.stop();
  assert.ok(errors.length > 0);
  for (const error of errors) {
    assert.equal(error.code, StatusCode.UNAVAILABLE, error.message);
    assert.ok(["DISCONNECTED", "NO_RESPONDERS"].includes(error.details.reason ?? ""), error.details.reason);
  }
  for (const name of answered) assert.equal(runs.get(name), 1, `runs of ${name}`);
  for (const [name, count] of runs) assert.equal(count, 1, `runs of ${name}`);
});

test("a subscriber that no longer reads: only it suffers, and no memory grows without bound", async (t) => {
  const nats = await startNatsCluster(t, 1);
  const [node] = nats.nodes;
  assert.ok(node);
  const [publisher, reader, server] = await Promise.all([
    nats.connect("auth"),
    nats.connect("gateway"),
    nats.connect("secrets"),
  ]);
  await serveSecrets(server, { getSecret: async ({ name }) => ({ name }) });
  const secrets = reader.client(SecretsServiceDefinition);
  let received = 0;
  await reader.subscribe(ServiceStarted, () => void (received += 1));
  const stuck = await startChild(t, "listens", node.url, nats.credentialsFile("gateway"));
  const publish = (instanceId: string, size: number): Promise<void> =>
    publisher.publish(ServiceStarted, ServiceStarted.fromPartial({ instanceId, service: "x".repeat(size) }));
  await publish("first", 1);
  await waitUntil("the first event", 5000, () => stuck.lines.includes("event first") || undefined);

  stuck.signal("SIGSTOP");
  const [sent, size] = [4000, 65_536];
  let slowest = 0;
  let rss = 0;
  for (let i = 0; i < sent; i++) {
    await publish(`e${i}`, size);
    if (i % 100 !== 99) continue;
    await waitUntil("the events at the other subscriber", 5000, () => received >= i + 2 || undefined);
    const { error, ms } = await outcomeOf(secrets.getSecret({ name: "a" }));
    assert.equal(error, undefined);
    slowest = Math.max(slowest, ms);
    rss = Math.max(rss, residentBytes(node.pid()));
  }
  assert.equal(received, sent + 1);
  assert.ok(slowest < 1000, `a call of another service took ${slowest} ms`);
  // nats-server holds 64 MiB for a client that does not read, then lets go of it.
  assert.ok(rss < (sent * size) / 2 + 100 * MiB, `nats-server grew to ${Math.round(rss / MiB)} MiB`);
  assert.ok(reader.up && publisher.up && server.up);

  stuck.signal("SIGCONT");
  await waitUntil("its return", 20_000, async () => {
    await publish("again", 1);
    await new Promise((resolve) => setTimeout(resolve, 50));
    return stuck.lines.includes("event again") || undefined;
  });
});

/** What a process holds in memory; 0 where the system does not tell. */
function residentBytes(pid: number): number {
  if (process.platform !== "linux") return 0;
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1] ?? 0) * 1024;
}

test("what is too large is refused with a clear error, and the connection survives", async (t) => {
  const nats = await startNats(t);
  const [server, gateway] = await Promise.all([nats.connect("secrets"), nats.connect("gateway")]);
  await serveSecrets(server, { getSecret: async ({ name }) => ({ name, value: "x".repeat(2 * MiB) }) });
  let lost = 0;
  for (const mesh of [server, gateway]) mesh.onReconnect(() => void (lost += 1));
  const secrets = gateway.client(SecretsServiceDefinition);
  const kv = await server.kv("secrets", bytesCodec);
  const assertion = (length: number) => ({ assertion: "a".repeat(length) as CallerAssertion });
  const event = (length: number) => async () =>
    gateway.publish(ServiceStarted, ServiceStarted.fromPartial({ service: "x".repeat(length) }));
  const attempts: Record<string, () => Promise<unknown>> = {
    "a request": () => secrets.putSecret({ name: "a", value: "x".repeat(2 * MiB) }),
    "a request that its headers make too large": () => secrets.putSecret({ name: "a", value: "x".repeat(MiB - 64) }),
    headers: () => secrets.listSecrets({}, assertion(2 * MiB)),
    "headers by a few bytes": () => secrets.listSecrets({}, assertion(MiB - 16)),
    "an answer": () => secrets.getSecret({ name: "a" }),
    "an event": event(2 * MiB),
    "an event that its prefix makes too large": event(MiB - 1),
    "a value": () => kv.put("a", new Uint8Array(2 * MiB)),
    "a value that its headers make too large": () => kv.create("a", new Uint8Array(MiB - 8)),
  };
  for (const [what, attempt] of Object.entries(attempts)) {
    const { error } = await outcomeOf(attempt());
    assert.ok(error instanceof RpcError, `${what}: ${String(error)}`);
    assert.equal(error.code, StatusCode.RESOURCE_EXHAUSTED, `${what}: ${error.message}`);
    assert.equal(error.details.reason, "TOO_LARGE", what);
  }
  assert.equal(await codeOf(secrets.getSecret({ name: "a" }, { idempotencyKey: "k".repeat(513) })), 3);
  assert.equal(await codeOf(secrets.listSecrets({})), StatusCode.UNIMPLEMENTED);
  assert.equal(lost, 0);
});

test("a deadline of 100 ms against a handler of 10 s ends both", async (t) => {
  const nats = await startNats(t);
  const [server, gateway] = await Promise.all([nats.connect("secrets"), nats.connect("gateway")]);
  const told = Promise.withResolvers<{ ms: number; reason: unknown }>();
  await serveSecrets(server, {
    getSecret: async ({ name }, ctx) => {
      const started = performance.now();
      ctx.signal.addEventListener("abort", () =>
        told.resolve({ ms: performance.now() - started, reason: ctx.signal.reason }),
      );
      await new Promise((resolve) => setTimeout(resolve, 10_000).unref());
      return { name };
    },
  });
  const secrets = gateway.client(SecretsServiceDefinition);
  const { error, ms } = await outcomeOf(secrets.getSecret({ name: "a" }, { timeoutMs: 100 }));
  assert.equal(error?.code, StatusCode.DEADLINE_EXCEEDED);
  assert.ok(ms >= 90 && ms < 1000, `${ms} ms`);
  const at = await told.promise;
  assert.ok(at.ms < 1000, `${at.ms} ms`);
  assert.equal((at.reason as RpcError).code, StatusCode.DEADLINE_EXCEEDED);
});

test("a caller's cancellation reaches the handler three hops away, for the same user", async (t) => {
  const nats = await startNats(t);
  const [gateway, agent, host, secrets] = await Promise.all(
    ["gateway", "agent", "plugin-host", "secrets"].map((name) => nats.connect(name)),
  );
  assert.ok(gateway && agent && host && secrets);
  const entered = Promise.withResolvers<void>();
  const reasons = new Map<string, RpcError>();
  const callers = new Map<string, string>();
  const note = (name: string, ctx: CallContext): void => {
    callers.set(name, ctx.caller.principal);
    ctx.signal.addEventListener("abort", () => reasons.set(name, ctx.signal.reason as RpcError));
  };
  await serveSecrets(secrets, {
    getSecret: (_, ctx) => {
      note("secrets", ctx);
      entered.resolve();
      return new Promise(() => undefined);
    },
  });
  await host.serve(PluginServiceDefinition, {
    callTool: async (_, ctx) => {
      note("plugin-host", ctx);
      await host.client(SecretsServiceDefinition).getSecret({ name: "a" }, ctx);
      return {};
    },
  } as Handlers<typeof PluginServiceDefinition>);
  await serveAgent(agent, {
    chat: async (_, ctx) => {
      note("agent", ctx);
      await agent.client(PluginServiceDefinition).callTool({ pluginId: "p", tool: "t" }, ctx);
      return {};
    },
  });
  const controller = new AbortController();
  const call = gateway.client(AgentServiceDefinition).chat(
    { message: "a" },
    {
      signal: controller.signal,
      assertion: gateway.assert(user(["chat", "plugins:call", "secrets:read"])),
      timeoutMs: 60_000,
    },
  );
  const outcome = outcomeOf(call);
  await entered.promise;
  controller.abort();
  assert.equal((await outcome).error?.code, StatusCode.CANCELLED);
  await waitUntil("every handler's signal", 2000, () => reasons.size === 3 || undefined);
  for (const [name, reason] of reasons) assert.equal(reason.code, StatusCode.CANCELLED, name);
  for (const name of ["agent", "plugin-host", "secrets"]) assert.equal(callers.get(name), "device:d1");
});
