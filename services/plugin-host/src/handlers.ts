// The plugin service on the mesh: each method of the contract in terms of the concepts below.
import { type CallContext, type Handlers, type Kv, RpcError, StatusCode } from "@warren/mesh";
import type { PluginRecord, PluginServiceDefinition } from "@warren/proto/warren/plugins/v1/plugins";
import type { IdempotentCalls } from "./lifecycle/idempotency.ts";
import type { PluginMetrics } from "./lifecycle/metrics.ts";
import type { PluginLog } from "./lifecycle/plugin-log.ts";
import type { Runner } from "./lifecycle/runner.ts";
import type { Supervisor } from "./lifecycle/supervisor.ts";
import type { Catalogue } from "./registry/catalogue.ts";
import { install, type InstallDependencies } from "./registry/installer.ts";

/** What the handlers work with. */
export interface HandlerDependencies {
  readonly hostId: string;
  readonly records: Kv<PluginRecord>;
  readonly catalogue: Catalogue;
  readonly supervisor: Supervisor;
  readonly installing: InstallDependencies;
  readonly remembered: IdempotentCalls;
  readonly metrics: Pick<PluginMetrics, "call">;
  /** The log of a plugin that is or was run here. */
  readonly logOf: (pluginId: string) => PluginLog | undefined;
  readonly onRemoved: (record: PluginRecord, principal: string) => void;
}

const DEFAULT_PAGE = 100;
const DEFAULT_TAIL = 100;

/** The handlers of every method. */
export function createHandlers(deps: HandlerDependencies): Handlers<PluginServiceDefinition> {
  const { records, catalogue, supervisor } = deps;
  return {
    async listPlugins({ pageSize, pageToken }) {
      const { plugins, more } = await catalogue.list(readPageToken(pageToken), pageSize || DEFAULT_PAGE);
      const last = plugins.at(-1);
      return { plugins, nextPageToken: more && last ? Buffer.from(last.id).toString("base64url") : "" };
    },

    async installPlugin(request, ctx) {
      const { id } = await install(deps.installing, request, ctx);
      return (await catalogue.get(id)) ?? Promise.reject(notInstalled(id));
    },

    async getPlugin({ id }) {
      return (await catalogue.get(id)) ?? Promise.reject(notInstalled(id));
    },

    async removePlugin({ id }, ctx) {
      const entry = await records.get(id);
      if (!entry) throw notInstalled(id);
      await records.delete(id);
      deps.onRemoved(entry.value, ctx.caller.principal);
      return {};
    },

    async callTool({ pluginId, tool, arguments: args = {} }, ctx) {
      const runner = supervisor.runner(pluginId) ?? (await awaitRunner(deps, pluginId, ctx));
      const call = () => deps.metrics.call(pluginId, () => runner.call(tool, args, ctx.deadline, ctx.signal));
      if (ctx.idempotencyKey === undefined) return call();
      const { tenant, principal } = ctx.caller;
      return deps.remembered.run(
        [tenant, principal, pluginId, runner.record.generation, tool, ctx.idempotencyKey],
        args,
        call,
      );
    },

    getPluginLogs({ id, tail }) {
      const log = deps.logOf(id);
      if (!log) return Promise.reject(notInstalled(id));
      const lines = log.tail(tail || DEFAULT_TAIL);
      return Promise.resolve({ lines: lines.map((line) => ({ ...line, hostId: deps.hostId })) });
    },
  };
}

/** A plugin that this host does not run: not installed, or installed a moment ago. */
async function awaitRunner(
  { records, supervisor }: HandlerDependencies,
  pluginId: string,
  ctx: CallContext,
): Promise<Runner> {
  if (supervisor.stopped)
    throw new RpcError(StatusCode.UNAVAILABLE, "This plugin host is stopping", { reason: "DRAINING" });
  if (!(await records.get(pluginId))) throw notInstalled(pluginId);
  const runner = await supervisor.awaitRunner(pluginId, undefined, ctx.signal);
  if (!runner)
    throw new RpcError(StatusCode.DEADLINE_EXCEEDED, `Plugin ${pluginId} did not start in time`, {
      reason: "PLUGIN_STARTING",
    });
  return runner;
}

function notInstalled(id: string): RpcError {
  return new RpcError(StatusCode.NOT_FOUND, `No plugin ${id} is installed: "warren plugin list" shows those that are`, {
    reason: "PLUGIN_NOT_FOUND",
  });
}

function readPageToken(token: string): string {
  const id = Buffer.from(token, "base64url").toString();
  if (/^[a-z0-9-]{0,48}$/.test(id)) return id;
  throw new RpcError(StatusCode.INVALID_ARGUMENT, "pageToken must come from an earlier answer", {
    violations: [{ field: "pageToken", description: "must come from an earlier answer" }],
  });
}
