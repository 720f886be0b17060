import assert from "node:assert/strict";
import test from "node:test";
import { type AnyEvent, StatusCode } from "@warren/mesh";
import {
  PluginInstalled,
  PluginRemoved,
  PluginStateChanged,
  ServiceStarted,
} from "@warren/proto/warren/events/v1/events";
import { startNats, waitUntil } from "@warren/testing";
import { codeOf } from "./support.ts";

test("events", async (t) => {
  const nats = await startNats(t);
  const [host, gateway] = await Promise.all([
    nats.connect("plugin-host"),
    nats.connect("gateway"),
    nats.connect("auth"),
  ]);
  const event = PluginStateChanged.fromPartial({ pluginId: "clock", state: "RUNNING" });

  await t.test("reach every subscriber, with their key; one that throws stops nothing", async () => {
    const seen: unknown[] = [];
    const ofKey: string[] = [];
    await gateway.subscribe(PluginStateChanged, () => Promise.reject(new Error("a bug")));
    await gateway.subscribe(
      PluginStateChanged,
      (message, { key }) => void seen.push([message.pluginId, message.state, key]),
    );
    await gateway.subscribe(PluginStateChanged, (message) => void ofKey.push(message.pluginId), { key: "a.*b" });
    await host.publish(PluginStateChanged, event);
    await host.publish(PluginStateChanged, event, { key: "a.*b" });
    await waitUntil("the events", 2000, () => (seen.length === 2 && ofKey.length === 1 ? true : undefined));
    assert.deepEqual(seen, [
      ["clock", "RUNNING", undefined],
      ["clock", "RUNNING", "a.*b"],
    ]);
    assert.deepEqual(ofKey, ["clock"]);
  });

  await t.test("are received by a pattern of their names, and read by their type", async () => {
    const seen: AnyEvent[] = [];
    const narrow: string[] = [];
    const subscriptions = await Promise.all([
      gateway.subscribePattern("plugin.>", (any) => void seen.push(any)),
      gateway.subscribePattern("plugin.*", (any) => void narrow.push(any.name)),
    ]);
    await host.publish(ServiceStarted, ServiceStarted.fromPartial({ service: "plugin-host" }));
    await host.publish(PluginInstalled, PluginInstalled.fromPartial({ pluginId: "clock" }), { key: "clock" });
    await host.publish(PluginStateChanged, event, { key: "a.b" });
    await host.publish(PluginRemoved, PluginRemoved.fromPartial({ pluginId: "clock" }));
    await waitUntil("the events", 2000, () => (seen.length === 3 && narrow.length === 2 ? true : undefined));
    assert.deepEqual(
      seen.map(({ name, key }) => [name, key]),
      [
        ["plugin.installed", "clock"],
        ["plugin.state.changed", "a.b"],
        ["plugin.removed", undefined],
      ],
    );
    assert.equal(seen[1]?.as(PluginStateChanged)?.state, "RUNNING");
    assert.equal(seen[1]?.as(PluginInstalled), undefined);
    // A key is no part of the name, so that plugin.* is not plugin.state.changed, with or without one.
    assert.deepEqual(narrow, ["plugin.installed", "plugin.removed"]);
    for (const subscription of subscriptions) subscription.unsubscribe();
  });

  await t.test("are not subscribed to by what is no pattern", async () => {
    for (const pattern of ["", "plugin.", "plugin.>.x", "plu*", "a b", "plugin..x"])
      await assert.rejects(
        gateway.subscribePattern(pattern, () => undefined),
        /is no pattern/,
        pattern,
      );
  });

  await t.test("are waited for by a predicate, not for longer than said", async () => {
    const waiting = gateway.waitFor(PluginInstalled, ({ pluginId }) => pluginId === "text", { timeoutMs: 5000 });
    const publishing = setInterval(() => {
      for (const pluginId of ["clock", "text"])
        void host.publish(PluginInstalled, PluginInstalled.fromPartial({ pluginId })).catch(() => undefined);
    }, 20);
    t.after(() => clearInterval(publishing));
    assert.equal((await waiting).pluginId, "text");
    clearInterval(publishing);
    const never = gateway.waitFor(PluginInstalled, () => false, { timeoutMs: 50 });
    assert.equal(await codeOf(never), StatusCode.DEADLINE_EXCEEDED);
    const signal = AbortSignal.abort();
    const cancelled = gateway.waitFor(PluginInstalled, () => true, { timeoutMs: 5000, signal });
    assert.equal(await codeOf(cancelled), StatusCode.CANCELLED);
  });

  await t.test("are neither waited for nor published into the void while NATS is away", async () => {
    await nats.kill();
    await waitUntil("the loss", 2000, () => (gateway.up || host.up ? undefined : true));
    const started = performance.now();
    const never = gateway.waitFor(PluginInstalled, () => true, { timeoutMs: 60_000 });
    assert.equal(await codeOf(never), StatusCode.UNAVAILABLE);
    const service = ServiceStarted.fromPartial({ service: "plugin-host" });
    assert.equal(await codeOf(host.publish(ServiceStarted, service)), StatusCode.UNAVAILABLE);
    assert.ok(performance.now() - started < 1000);
    await nats.start();
    await waitUntil("the return", 5000, () => (gateway.up && host.up) || undefined);
    const waiting = gateway.waitFor(ServiceStarted, () => true, { timeoutMs: 5000 });
    const publishing = setInterval(() => void host.publish(ServiceStarted, service).catch(() => undefined), 20);
    t.after(() => clearInterval(publishing));
    assert.equal((await waiting).service, "plugin-host");
    clearInterval(publishing);
  });
});
