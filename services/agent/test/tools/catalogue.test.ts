import assert from "node:assert/strict";
import { test } from "node:test";
import { PluginState, PluginStatus } from "@warren/proto/warren/plugins/v1/plugins";
import { createToolCatalogue } from "../../src/tools/catalogue.ts";
import { offeredNames } from "../../src/tools/names.ts";

/** A watched bucket that a test fills by hand. */
function statusBucket() {
  const values = new Map<string, PluginStatus>();
  return {
    *entries() {
      yield* values;
    },
    close: () => undefined,
    set(host: string, pluginId: string, more: Partial<PluginStatus> & { names?: string[] } = {}) {
      const { names = ["tool"], ...rest } = more;
      const tools = names.map((name) => ({ name, description: `about ${name}` }));
      values.set(
        `${pluginId}.${host}`,
        PluginStatus.fromPartial({ pluginId, hostId: host, state: PluginState.RUNNING, tools, ...rest }),
      );
    },
  };
}

const names = (catalogue: { current(): { tools: readonly { name: string }[] } }) =>
  catalogue.current().tools.map((tool) => tool.name);

test("the tools of running plugins are offered, each once however many hosts run it", () => {
  const bucket = statusBucket();
  bucket.set("a", "clock", { names: ["get_current_time"] });
  const catalogue = createToolCatalogue(bucket);
  bucket.set("b", "clock", { names: ["get_current_time"] });
  bucket.set("a", "text", { names: ["reverse", "count"] });
  bucket.set("a", "broken", { state: PluginState.FAILED });
  assert.deepEqual(names(catalogue), ["get_current_time", "reverse", "count"]);
  const tool = catalogue.current().find("reverse");
  assert.deepEqual([tool?.pluginId, tool?.tool, tool?.description], ["text", "reverse", "about reverse"]);
  assert.deepEqual(tool?.inputSchema, { type: "object", properties: {} });
  assert.equal(catalogue.current().find("nothing"), undefined);
});

test("repeating what is known keeps the list; a change makes a new one", () => {
  const bucket = statusBucket();
  bucket.set("a", "clock");
  const catalogue = createToolCatalogue(bucket);
  const first = catalogue.current();
  bucket.set("a", "clock", { updateTime: new Date() });
  assert.equal(catalogue.current(), first);
  bucket.set("a", "clock", { names: ["tool", "other"] });
  assert.notEqual(catalogue.current(), first);
  assert.deepEqual(names(catalogue), ["tool", "other"]);
});

test("during an upgrade the newest status of a plugin counts", () => {
  const bucket = statusBucket();
  bucket.set("a", "clock", { names: ["old"], updateTime: new Date(1_000) });
  bucket.set("b", "clock", { names: ["new"], updateTime: new Date(2_000) });
  assert.deepEqual(names(createToolCatalogue(bucket)), ["new"]);
});

test("a name that two plugins have is prefixed for both: none can take over another's", () => {
  const addresses = [
    { pluginId: "a", tool: "search" },
    { pluginId: "b", tool: "search" },
    { pluginId: "b", tool: "read.file" },
    { pluginId: "c", tool: "a__search" },
  ];
  assert.deepEqual(offeredNames(addresses).slice(0, 3), ["a__search", "b__search", "read_file"]);
});

test("offered names are unique, safe and short, whatever plugins call their tools", () => {
  const long = "x".repeat(128);
  const addresses = [
    { pluginId: "a", tool: long },
    { pluginId: "b", tool: long },
    { pluginId: "a", tool: `${long.slice(1)}y` },
    { pluginId: "a", tool: "search" },
    { pluginId: "b", tool: "search" },
    { pluginId: "c", tool: "a__search" },
    { pluginId: "d", tool: "s.t" },
    { pluginId: "e", tool: "s_t" },
  ];
  const offered = offeredNames(addresses);
  assert.equal(new Set(offered).size, addresses.length);
  for (const name of offered) assert.match(name, /^[A-Za-z0-9_-]{1,64}$/);
});

test("a stored call's tool keeps its offered name, or a safe one when it is gone", () => {
  const bucket = statusBucket();
  bucket.set("a", "one", { names: ["search"] });
  bucket.set("a", "two", { names: ["search"] });
  const { nameOf } = createToolCatalogue(bucket).current();
  assert.equal(nameOf("one", "search"), "one__search");
  assert.equal(nameOf("gone", "read.file"), "read_file");
});
