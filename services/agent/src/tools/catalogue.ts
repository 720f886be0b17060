// The tools of all running plugins, from a watched copy of what the plugin hosts say. Nothing is asked for per turn.
import { createHash } from "node:crypto";
import type { KvCache } from "@warren/mesh";
import { PluginState, type PluginStatus } from "@warren/proto/warren/plugins/v1/plugins";
import type { JsonObject, ModelTool } from "../model/provider.ts";
import type { NameOf } from "../session/context.ts";
import { offeredNames, safe, type ToolAddress } from "./names.ts";

/** A tool with where it lives. */
export interface CatalogueTool extends ModelTool, ToolAddress {}

/** The tools at one moment. The same object as long as nothing changes, so that indexes of it can be kept. */
export interface ToolList {
  readonly tools: readonly CatalogueTool[];
  /** The tool offered under this name. */
  readonly find: (name: string) => CatalogueTool | undefined;
  /** The name under which a tool is offered; a safe form of its own name when it is not. */
  readonly nameOf: NameOf;
}

/** The watched catalogue. */
export interface ToolCatalogue {
  current(): ToolList;
  close(): void;
}

const MAX_DESCRIPTION = 1_024;

/** Follows the statuses in `statuses`. A crashed host's leave it by themselves: they expire unless repeated. */
export function createToolCatalogue(statuses: Pick<KvCache<PluginStatus>, "entries" | "close">): ToolCatalogue {
  const prints = new WeakMap<PluginStatus, string>();
  let list = createToolList([]);
  let listPrint = "";

  return {
    current() {
      const running = [...statuses.entries()].flatMap(([, status]) =>
        status.state === PluginState.RUNNING ? [status] : [],
      );
      const plugins = newestOfEach(running);
      const print = plugins.map((status) => fingerprint(status, prints)).join(" ");
      if (print !== listPrint) {
        list = createToolList(plugins);
        listPrint = print;
      }
      return list;
    },
    close: () => statuses.close(),
  };
}

/** A list of the tools of these plugins, one status each. */
export function createToolList(plugins: readonly Pick<PluginStatus, "pluginId" | "tools">[]): ToolList {
  const found = plugins.flatMap(({ pluginId, tools }) => tools.map((tool) => ({ pluginId, tool })));
  const names = offeredNames(found.map(({ pluginId, tool }) => ({ pluginId, tool: tool.name })));
  const tools = found.map(({ pluginId, tool }, index): CatalogueTool => {
    const name = names[index] ?? safe(tool.name);
    const title = tool.title !== "" && tool.title !== tool.name ? `${tool.title}. ` : "";
    const description = `${title}${tool.description}`.slice(0, MAX_DESCRIPTION);
    return { name, pluginId, tool: tool.name, description, inputSchema: objectSchema(tool.inputSchema) };
  });
  const byName = new Map(tools.map((tool) => [tool.name, tool]));
  const byAddress = new Map(tools.map((tool) => [`${tool.pluginId}/${tool.tool}`, tool.name]));
  return {
    tools,
    find: (name) => byName.get(name),
    nameOf: (pluginId, tool) => byAddress.get(`${pluginId}/${tool}`) ?? safe(tool),
  };
}

/** One status for each plugin, by its id: during an upgrade hosts differ, and the newest word counts. */
function newestOfEach(statuses: readonly PluginStatus[]): PluginStatus[] {
  const newest = new Map<string, PluginStatus>();
  for (const status of statuses) {
    const known = newest.get(status.pluginId);
    if (!known || time(status) > time(known)) newest.set(status.pluginId, status);
  }
  return [...newest.values()].sort((a, b) => (a.pluginId < b.pluginId ? -1 : 1));
}

/** The same for two statuses with the same tools, however often a host repeats them. */
function fingerprint(status: PluginStatus, known: WeakMap<PluginStatus, string>): string {
  const print =
    known.get(status) ??
    createHash("sha256")
      .update(JSON.stringify([status.pluginId, status.tools]))
      .digest("base64");
  known.set(status, print);
  return print;
}

function time(status: PluginStatus): number {
  return status.updateTime?.getTime() ?? 0;
}

/** Models want an object schema, even of tools that take nothing. */
function objectSchema(schema: JsonObject | undefined): JsonObject {
  return { ...schema, type: "object", properties: schema?.["properties"] ?? {} };
}
