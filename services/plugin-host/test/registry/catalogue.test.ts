import assert from "node:assert/strict";
import { test } from "node:test";
import { checkManifest } from "@warren/plugin-manifest";
import { IsolationLevel, PluginRecord, PluginState, PluginStatus } from "@warren/proto/warren/plugins/v1/plugins";
import { toPlugin } from "../../src/registry/catalogue.ts";

const manifest = checkManifest({
  id: "p",
  version: "1.0.0",
  name: "P",
  description: "d",
  runtime: "node",
  entry: "x.js",
});
const record = PluginRecord.fromPartial({
  id: "p",
  version: "1.0.0",
  manifestJson: JSON.stringify(manifest),
  generation: "g2",
  origin: "folder",
});
const status = (hostId: string, state: PluginState, more: Partial<PluginStatus> = {}): PluginStatus =>
  PluginStatus.fromPartial({
    pluginId: "p",
    hostId,
    state,
    generation: "g2",
    tools: [{ name: `tool-of-${hostId}` }],
    ...more,
  });

test("a plugin that any host runs is running, with that host's tools and everyone's restarts", () => {
  const plugin = toPlugin(record, [
    status("a", PluginState.FAILED, { stateReason: "it broke", restarts: 2 }),
    status("b", PluginState.RUNNING, { restarts: 1 }),
    status("c", PluginState.RUNNING),
  ]);
  assert.equal(plugin.state, PluginState.RUNNING);
  assert.equal(plugin.stateReason, "");
  assert.equal(plugin.runningHosts, 2);
  assert.equal(plugin.restarts, 3);
  assert.deepEqual(
    plugin.tools.map(({ name }) => name),
    ["tool-of-b"],
  );
  assert.equal(plugin.isolation, IsolationLevel.PROCESS);
  assert.equal(plugin.runtime, "node");
});

test("what hosts say of an earlier installation does not count", () => {
  const plugin = toPlugin(record, [status("a", PluginState.RUNNING, { generation: "g1" })]);
  assert.equal(plugin.state, PluginState.INSTALLED);
  assert.equal(plugin.runningHosts, 0);
});

test("a quarantine shows with its reason where nobody runs the plugin", () => {
  const plugin = toPlugin(record, [
    status("a", PluginState.STOPPED),
    status("b", PluginState.QUARANTINED, { stateReason: "crashed five times" }),
  ]);
  assert.equal(plugin.state, PluginState.QUARANTINED);
  assert.equal(plugin.stateReason, "crashed five times");
});
