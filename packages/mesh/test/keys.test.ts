import assert from "node:assert/strict";
import test from "node:test";
import { type Handlers, type Mesh, RpcError, StatusCode } from "@warren/mesh";
import { PluginServiceDefinition } from "@warren/proto/warren/plugins/v1/plugins";
import { startNats, waitUntil } from "@warren/testing";
import { codeOf } from "./support.ts";

type PluginHandlers = Handlers<typeof PluginServiceDefinition>;

/** Serves the plugin contract: of its methods only the calling of tools. */
function servePlugins(mesh: Mesh, callTool: PluginHandlers["callTool"]): Promise<void> {
  const rest = () => Promise.reject(new RpcError(StatusCode.UNIMPLEMENTED, "not given by this test"));
  const names = ["listPlugins", "installPlugin", "getPlugin", "removePlugin", "getPluginLogs"] as const;
  const others = Object.fromEntries(names.map((name) => [name, rest])) as unknown as Omit<PluginHandlers, "callTool">;
  return mesh.serve(PluginServiceDefinition, { ...others, callTool });
}

test("a method with a key", async (t) => {
  const nats = await startNats(t);
  const [one, two, agent] = await Promise.all([
    nats.connect("plugin-host"),
    nats.connect("plugin-host"),
    nats.connect("agent"),
  ]);
  const calls: string[] = [];
  const gate = { opened: Promise.withResolvers<void>() };
  const handler =
    (host: string): PluginHandlers["callTool"] =>
    async ({ pluginId, tool }) => {
      calls.push(`${host}:${pluginId}`);
      if (tool === "slow") await gate.opened.promise;
      return { content: [{ host }] };
    };
  await assert.rejects(
    one.serveKey(PluginServiceDefinition, "callTool", "clock"),
    /Serve warren.plugins.v1.PluginService before/,
  );
  await Promise.all([servePlugins(one, handler("one")), servePlugins(two, handler("two"))]);
  const client = agent.client(PluginServiceDefinition);
  const hostOf = async (pluginId: string, tool = "now"): Promise<unknown> =>
    (await client.callTool({ pluginId, tool })).content[0]?.["host"];

  await t.test("reaches the replica that holds the key, every time", async () => {
    const held = [
      await one.serveKey(PluginServiceDefinition, "callTool", "clock"),
      await two.serveKey(PluginServiceDefinition, "callTool", "text"),
    ];
    for (let i = 0; i < 20; i++) assert.deepEqual([await hostOf("clock"), await hostOf("text")], ["one", "two"]);
    await Promise.all(held.map((each) => each.drain()));
  });
  await t.test("reaches any replica while none holds the key", async () => {
    assert.ok(["one", "two"].includes(String(await hostOf("nowhere"))));
  });
  await t.test("moves from one replica to another without a call lost; who leaves answers what it took", async () => {
    const first = await one.serveKey(PluginServiceDefinition, "callTool", "clock");
    const slow = hostOf("clock", "slow");
    await waitUntil("the call", 5000, () => (calls.at(-1) === "one:clock" ? true : undefined));
    await two.serveKey(PluginServiceDefinition, "callTool", "clock");
    let drained = false;
    const leaving = first.drain().then(() => (drained = true));
    await waitUntil("the other replica's turn", 5000, async () =>
      (await hostOf("clock")) === "two" ? true : undefined,
    );
    for (let i = 0; i < 10; i++) assert.equal(await hostOf("clock"), "two");
    assert.equal(drained, false, "a call that was taken is still served");
    gate.opened.resolve();
    assert.equal(await slow, "one");
    await leaving;
  });
  await t.test("refuses a key that could mean something to NATS before anything is sent", async () => {
    const before = calls.length;
    for (const key of ["*", ">", "a.b", "", "a b"])
      assert.equal(await codeOf(client.callTool({ pluginId: key, tool: "now" })), StatusCode.INVALID_ARGUMENT, key);
    for (const key of ["*", "a.b"])
      assert.equal(await codeOf(one.serveKey(PluginServiceDefinition, "callTool", key)), StatusCode.INVALID_ARGUMENT);
    assert.equal(calls.length, before);
  });
});
