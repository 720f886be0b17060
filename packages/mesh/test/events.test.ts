import assert from "node:assert/strict";
import test from "node:test";
import { StatusCode } from "@warren/mesh";
import { PluginInstalled, PluginStateChanged } from "@warren/proto/warren/events/v1/events";
import { startNats, waitUntil } from "@warren/testing";

test("events", async (t) => {
  const nats = await startNats(t);
  const [host, gateway] = await Promise.all([nats.connect("plugin-host"), nats.connect("gateway")]);
  const event = PluginStateChanged.fromPartial({ pluginId: "clock", state: "RUNNING" });

  await t.test("reach every subscriber, with their key; one that throws stops nothing", async () => {
    const seen: unknown[] = [];
    await gateway.subscribe(PluginStateChanged, () => Promise.reject(new Error("a bug")));
    await gateway.subscribe(
      PluginStateChanged,
      (message, { key }) => void seen.push([message.pluginId, message.state, key]),
    );
    await gateway.subscribe(PluginStateChanged, (message) => void seen.push(message.pluginId), { key: "a.*b" });
    host.publish(PluginStateChanged, event);
    host.publish(PluginStateChanged, event, { key: "a.*b" });
    await waitUntil("the events", 2000, () => (seen.length === 3 ? true : undefined));
    assert.deepEqual(seen, [["clock", "RUNNING", undefined], ["clock", "RUNNING", "a.*b"], "clock"]);
  });
  await t.test("are waited for by a predicate, not for longer than said", async () => {
    const waiting = gateway.waitFor(PluginInstalled, ({ pluginId }) => pluginId === "text", { timeoutMs: 5000 });
    const publishing = setInterval(() => {
      for (const pluginId of ["clock", "text"])
        host.publish(PluginInstalled, PluginInstalled.fromPartial({ pluginId }));
    }, 20);
    t.after(() => clearInterval(publishing));
    assert.equal((await waiting).pluginId, "text");
    clearInterval(publishing);
    await assert.rejects(
      gateway.waitFor(PluginInstalled, () => false, { timeoutMs: 50 }),
      { code: StatusCode.DEADLINE_EXCEEDED },
    );
  });
});
