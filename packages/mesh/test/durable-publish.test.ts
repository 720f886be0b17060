// Audited events: published when they are stored, stored once, or refused.
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import test, { type TestContext } from "node:test";
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { type Mesh, RpcError, StatusCode } from "@warren/mesh";
import {
  DevicePaired,
  PluginInstalled,
  PluginStateChanged,
  SecretAccessed,
} from "@warren/proto/warren/events/v1/events";
import { foreignApi, RECORDS } from "@warren/mesh/policy";
import { startNats, type TestNats, waitUntil } from "@warren/testing";
import { rawConnection } from "./raw.ts";
import { codeOf } from "./support.ts";

/** JetStream of the records, as one reaches it who holds a service's credential. */
async function manager(t: TestContext, nats: TestNats, service: string): Promise<JetStreamManager> {
  const connection = await rawConnection(nats, service);
  t.after(() => connection.close());
  return jetstreamManager(connection, { apiPrefix: foreignApi(RECORDS), timeout: 1000, checkAPI: false });
}

async function stored(gateway: Mesh): Promise<(string | undefined)[]> {
  return (await gateway.auditLog({ limit: 1000 })).map(({ event }) => event.as(PluginInstalled)?.pluginId);
}

function installed(pluginId: string): PluginInstalled {
  return PluginInstalled.fromPartial({ pluginId });
}

test("an audited event is stored when its publishing is done, and reaches those who listen", async (t) => {
  const nats = await startNats(t);
  const [host, secrets, gateway] = await Promise.all([
    nats.connect("plugin-host"),
    nats.connect("secrets"),
    nats.connect("gateway"),
  ]);
  const heard = new Set<string>();
  await gateway.subscribe(PluginInstalled, ({ pluginId }) => void heard.add(pluginId));
  // The owner of the stream is not there yet: starts may come in any order.
  const published = Promise.all([
    host.publish(PluginInstalled, installed("clock"), { key: "cl.ock" }),
    secrets.publish(SecretAccessed, SecretAccessed.fromPartial({ action: "get", name: "a" })),
  ]);
  await waitUntil("the first attempt", 2000, () => heard.size || undefined);
  await (await nats.connect("auth")).publish(DevicePaired, DevicePaired.fromPartial({ deviceId: "d1" }));
  await published;
  const log = await gateway.auditLog();
  assert.deepEqual(log.map(({ event }) => event.name).toSorted(), [
    "plugin.installed",
    "security.device.paired",
    "security.secret.accessed",
  ]);
  const [clock] = log.filter(({ event }) => event.name === "plugin.installed");
  assert.deepEqual([clock?.event.key, clock?.event.as(PluginInstalled)?.pluginId], ["cl.ock", "clock"]);
  assert.ok(clock && Math.abs(clock.storedAt.getTime() - Date.now()) < 10_000);
  assert.deepEqual([...heard], ["clock"]);

  const second = await gateway.auditLog({ after: log[0]!.sequence, limit: 1 });
  assert.deepEqual(
    second.map(({ sequence }) => sequence),
    [log[1]?.sequence],
  );
  assert.deepEqual(await gateway.auditLog({ after: 3 }), []);
});

test("under one id an event is stored once, and ids of others do not matter", async (t) => {
  const nats = await startNats(t);
  const [host, secrets, gateway] = await Promise.all([
    nats.connect("plugin-host"),
    nats.connect("secrets"),
    nats.connect("gateway"),
    nats.connect("auth"),
  ]);
  for (let i = 0; i < 3; i++) await host.publish(PluginInstalled, installed("clock"), { id: "an id, of any kind\r\n" });
  await host.publish(PluginInstalled, installed("other"), { id: "1" });
  await host.publish(PluginStateChanged, PluginStateChanged.fromPartial({ pluginId: "other" }), { id: "1" });
  await secrets.publish(SecretAccessed, SecretAccessed.fromPartial({ action: "get" }), { id: "1" });
  const names = (await gateway.auditLog()).map(({ event }) => event.name);
  assert.deepEqual(names, ["plugin.installed", "plugin.installed", "plugin.state.changed", "security.secret.accessed"]);
});

test("an audited event is refused at once while NATS is down, and never stored later", async (t) => {
  const nats = await startNats(t);
  const [host, gateway] = await Promise.all([
    nats.connect("plugin-host"),
    nats.connect("gateway"),
    nats.connect("auth"),
  ]);
  await host.publish(PluginInstalled, installed("before"));
  await nats.kill();
  await waitUntil("the loss", 2000, () => (host.up ? undefined : true));
  const started = performance.now();
  assert.equal(await codeOf(host.publish(PluginInstalled, installed("lost"))), StatusCode.UNAVAILABLE);
  assert.ok(performance.now() - started < 500);
  await nats.start();
  await waitUntil("the return", 5000, () => (host.up && gateway.up) || undefined);
  await host.publish(PluginInstalled, installed("after"));
  assert.deepEqual(await stored(gateway), ["before", "after"]);
});

test("while NATS is killed and started again, what was published is stored exactly once, and the rest was refused", async (t) => {
  const nats = await startNats(t);
  const [host, gateway] = await Promise.all([
    nats.connect("plugin-host"),
    nats.connect("gateway"),
    nats.connect("auth"),
  ]);
  const published: string[] = [];
  const refused: unknown[] = [];
  let stop = false;
  const publisher = async (name: string): Promise<void> => {
    for (let i = 0; !stop; i++) {
      const pluginId = `${name}-${i}`;
      await host.publish(PluginInstalled, installed(pluginId)).then(
        () => published.push(pluginId),
        (error: unknown) => refused.push(error),
      );
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const publishers = ["a", "b", "c", "d"].map(publisher);
  for (let round = 0; round < 2; round++) {
    const soFar = published.length;
    await waitUntil("some events", 10_000, () => (published.length > soFar + 50 ? true : undefined));
    await nats.restart();
  }
  const soFar = published.length;
  await waitUntil("events after the restarts", 10_000, () => (published.length > soFar + 50 ? true : undefined));
  stop = true;
  await Promise.all(publishers);
  await waitUntil("the reader's return", 10_000, () => (gateway.up ? true : undefined));

  const times = new Map<string, number>();
  for (let after = 0; ;) {
    const page = await gateway.auditLog({ after, limit: 1000 });
    if (page.length === 0) break;
    for (const { event } of page) {
      const id = event.as(PluginInstalled)?.pluginId ?? "";
      times.set(id, (times.get(id) ?? 0) + 1);
    }
    after = page.at(-1)!.sequence;
  }
  for (const id of published) assert.equal(times.get(id), 1, id);
  for (const [id, count] of times) assert.equal(count, 1, id);
  assert.ok(refused.length > 0);
  for (const error of refused) assert.ok(error instanceof RpcError && error.code === StatusCode.UNAVAILABLE);
});

test("an empty server in place of the old one gets the stream anew from its owner", async (t) => {
  const nats = await startNats(t);
  const [host, auth] = await Promise.all([nats.connect("plugin-host"), nats.connect("auth")]);
  await host.publish(PluginInstalled, installed("first"));
  const owner = await manager(t, nats, "auth");
  await waitUntil("the dead letters' stream", 5000, () =>
    owner.streams.info("dead_letters").then(Boolean, () => undefined),
  );
  await nats.kill();
  rmSync(`${nats.dataDir}/jetstream`, { recursive: true });
  await nats.start();
  await waitUntil("the return", 5000, () => (host.up && auth.up) || undefined);
  await waitUntil("the streams", 5000, () => owner.streams.info("dead_letters").then(Boolean, () => undefined));
  await host.publish(PluginInstalled, installed("second"));
  assert.deepEqual(await stored(await nats.connect("gateway")), ["second"]);
});

test("an event too large for its dead letter is refused", async (t) => {
  const nats = await startNats(t);
  const host = await nats.connect("plugin-host");
  const large = PluginInstalled.fromPartial({ pluginId: "p", grants: ["x".repeat(1_048_000)] });
  assert.equal(await codeOf(host.publish(PluginInstalled, large)), StatusCode.RESOURCE_EXHAUSTED);
});

test("who may not publish an audited event is told so at once", async (t) => {
  const nats = await startNats(t);
  const [agent] = await Promise.all([nats.connect("agent"), nats.connect("auth")]);
  const started = performance.now();
  await assert.rejects(agent.publish(PluginInstalled, installed("forged")), /permission/i);
  assert.ok(performance.now() - started < 1500);
  assert.deepEqual(await stored(await nats.connect("gateway")), []);
});

test("who feeds the audit cannot empty, shrink or redirect it; nobody can delete from it", async (t) => {
  const nats = await startNats(t);
  const auth = await nats.connect("auth");
  await auth.publish(DevicePaired, DevicePaired.fromPartial({ deviceId: "d1" }));
  const before = (await (await manager(t, nats, "auth")).streams.info("audit")).config;
  assert.deepEqual(
    [before.subjects, before.deny_delete, before.deny_purge, before.discard],
    [["events.plugin.>", "events.security.>"], true, true, "old"],
  );
  assert.ok(before.max_bytes > 0 && before.max_age > 0);
  for (const service of ["plugin-host", "secrets", "auth", "gateway", "agent"]) {
    const { streams, consumers } = await manager(t, nats, service);
    const attempts = [
      () => streams.delete("audit"),
      () => streams.purge("audit"),
      () => streams.deleteMessage("audit", 1),
      () => streams.add({ ...before, max_bytes: 1024 }),
      () => streams.add({ name: "audit", subjects: ["events.>"] }),
      () => consumers.add("audit", { durable_name: "spy", deliver_subject: "anywhere" }),
      ...(service === "auth" ? [] : [() => streams.update("audit", { ...before, max_bytes: 1024 })]),
    ];
    for (const attempt of attempts) await assert.rejects(attempt(), `${service}: ${String(attempt)}`);
  }
  const { streams } = await manager(t, nats, "auth");
  await assert.rejects(streams.update("audit", { ...before, deny_delete: false, deny_purge: false }));
  const { config, state } = await streams.info("audit");
  assert.deepEqual([config.max_bytes, state.messages], [before.max_bytes, 1]);
});

test("the owner brings a stream up to date, and takes no subject away", async (t) => {
  const nats = await startNats(t);
  const early = await manager(t, nats, "auth");
  await waitUntil("JetStream", 5000, () =>
    early.streams.add({ name: "audit", subjects: ["events.future.>"], max_bytes: 2048 }).catch(() => undefined),
  );
  await nats.connect("auth");
  const { config } = await waitUntil("the update", 5000, async () => {
    const info = await early.streams.info("audit");
    return info.config.deny_delete ? info : undefined;
  });
  assert.deepEqual(config.subjects.toSorted(), ["events.future.>", "events.plugin.>", "events.security.>"]);
  assert.ok(config.max_bytes > 2048 && config.deny_purge && config.max_age > 0);
});

test("the trace of the publisher is that of the event, stored or not", async (t) => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  t.after(() => context.disable());
  const nats = await startNats(t);
  const [host, gateway] = await Promise.all([
    nats.connect("plugin-host"),
    nats.connect("gateway"),
    nats.connect("auth"),
  ]);
  const traces: unknown[] = [];
  const note = (where: string): void => void traces.push([where, trace.getActiveSpan()?.spanContext().traceId]);
  await gateway.subscribe(PluginInstalled, () => note("subscriber"));
  await gateway.consume(PluginInstalled, { durable: "notices" }, () => note("consumer"));
  const traceId = "0af7651916cd43dd8448eb211c80319c";
  const span = trace.wrapSpanContext({ traceId, spanId: "b7ad6b7169203331", traceFlags: 1 });
  await context.with(trace.setSpan(context.active(), span), () => host.publish(PluginInstalled, installed("clock")));
  await waitUntil("both", 5000, () => (traces.length === 2 ? true : undefined));
  assert.deepEqual(traces.toSorted(), [
    ["consumer", traceId],
    ["subscriber", traceId],
  ]);
});
