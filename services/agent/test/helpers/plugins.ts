// A plugin host that runs functions instead of plugins: the real contract over the real mesh.
import { type CallContext, type Kv, type Mesh, protoCodec, RpcError, StatusCode } from "@warren/mesh";
import { PluginServiceDefinition, PluginState, PluginStatus, type Tool } from "@warren/proto/warren/plugins/v1/plugins";

/** What a test's tool does; its result is the text, `failure` the tool's own error. */
export type TestTool = (
  args: Readonly<Record<string, unknown>>,
  ctx: CallContext,
) => Promise<string | { failure: string }> | string | { failure: string };

/** A call that arrived. */
export interface ReceivedCall {
  readonly pluginId: string;
  readonly tool: string;
  readonly principal: string;
  readonly idempotencyKey: string | undefined;
}

/** Plugins that "run". */
export interface TestPlugins {
  readonly calls: readonly ReceivedCall[];
  /** Announces a plugin with tools and answers calls to it. */
  run(
    pluginId: string,
    tools: Readonly<Record<string, { readonly about: Partial<Tool>; readonly does: TestTool }>>,
  ): Promise<void>;
  /** Announces the plugin as stopped. */
  stop(pluginId: string): Promise<void>;
}

/** Starts the host on a mesh connected as `plugin-host`. */
export async function servePlugins(mesh: Mesh): Promise<TestPlugins> {
  const statuses: Kv<PluginStatus> = await mesh.kv("plugin_status", protoCodec(PluginStatus));
  const running = new Map<string, Readonly<Record<string, { does: TestTool }>>>();
  const calls: ReceivedCall[] = [];
  const refuse = (): never => {
    throw new RpcError(StatusCode.UNIMPLEMENTED, "This host only calls tools");
  };
  await mesh.serve(PluginServiceDefinition, {
    listPlugins: refuse,
    installPlugin: refuse,
    getPlugin: refuse,
    removePlugin: refuse,
    getPluginLogs: refuse,
    async callTool({ pluginId, tool, arguments: args }, ctx) {
      calls.push({ pluginId, tool, principal: ctx.caller.principal, idempotencyKey: ctx.idempotencyKey });
      const found = running.get(pluginId)?.[tool];
      if (!found) throw new RpcError(StatusCode.NOT_FOUND, `There is no tool ${pluginId}/${tool}`);
      const answer = await found.does(args ?? {}, ctx);
      if (typeof answer === "string") return { content: [{ type: "text", text: answer }] };
      return { content: [{ type: "text", text: answer.failure }], isError: true };
    },
  });
  const tell = async (
    pluginId: string,
    state: PluginStatus["state"],
    tools: readonly Partial<Tool>[],
  ): Promise<void> => {
    const status = PluginStatus.fromPartial({
      pluginId,
      hostId: "test",
      state,
      tools: [...tools],
      updateTime: new Date(),
    });
    await statuses.put(`${pluginId}.test`, status);
  };
  return {
    calls,
    async run(pluginId, tools) {
      if (!running.has(pluginId)) await mesh.serveKey(PluginServiceDefinition, "callTool", pluginId);
      running.set(pluginId, tools);
      const offered = Object.entries(tools).map(([name, { about }]) => ({ name, ...about }));
      await tell(pluginId, PluginState.RUNNING, offered);
    },
    stop: (pluginId) => tell(pluginId, PluginState.STOPPED, []),
  };
}
