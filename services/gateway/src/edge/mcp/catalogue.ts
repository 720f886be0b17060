// The tools of all running plugins as MCP clients see them, from a watched copy of what the plugin hosts say.
import { hash } from "node:crypto";
import type { Tool } from "@modelcontextprotocol/server";
import { PluginState, type PluginStatus } from "@warren/proto/warren/plugins/v1/plugins";
import type { Watched } from "../../state.ts";
import { toolName } from "./names.ts";
import { inputSchema, outputSchema } from "./schema.ts";

/** A tool, and where it lives. */
export interface OfferedTool {
  readonly tool: Tool;
  readonly pluginId: string;
  /** Its own name there. */
  readonly ownName: string;
}

/** The tools at one moment, by the names under which they are offered. */
export type ToolCatalogue = ReadonlyMap<string, OfferedTool>;

const LONGEST_DESCRIPTION = 4096;
/** What the contract lets be called: a tool with another name cannot be reached, so it is not offered. */
const CALLABLE = /^[A-Za-z0-9_.-]{1,128}$/;

/** Follows the plugins. @param onChange Told when the tools may be others than before. */
export function watchTools(
  statuses: Pick<Watched<PluginStatus>, "onChange" | "entries">,
  onChange: () => void,
): { readonly current: () => ToolCatalogue; readonly stop: () => void } {
  let catalogue: ToolCatalogue | undefined;
  const prints = new Map<string, string>();
  for (const [key, status] of statuses.entries()) prints.set(key, printOf(status));
  // Hosts repeat their word every few seconds: what is the same is no change.
  const stop = statuses.onChange(({ key, value }) => {
    const print = value && printOf(value);
    if (print === prints.get(key)) return;
    if (print === undefined) prints.delete(key);
    else prints.set(key, print);
    catalogue = undefined;
    onChange();
  });
  return { current: () => (catalogue ??= catalogueOf(statuses.entries())), stop };
}

/** The tools of the plugins that run: of one that runs on several hosts, as the newest word has it. */
export function catalogueOf(statuses: Iterable<readonly [string, PluginStatus]>): ToolCatalogue {
  const newest = new Map<string, PluginStatus>();
  for (const [, status] of statuses) {
    const known = newest.get(status.pluginId);
    if (status.state === PluginState.RUNNING && (!known || time(status) > time(known)))
      newest.set(status.pluginId, status);
  }
  const offered = new Map<string, OfferedTool>();
  const taken = new Set<string>();
  for (const [pluginId, { tools }] of [...newest].sort(([a], [b]) => (a < b ? -1 : 1)))
    for (const tool of tools) {
      if (!CALLABLE.test(tool.name)) continue;
      const name = toolName(pluginId, tool.name, taken);
      if (taken.has(name)) continue;
      taken.add(name);
      offered.set(name, { pluginId, ownName: tool.name, tool: describe(name, tool) });
    }
  return offered;
}

function describe(name: string, tool: PluginStatus["tools"][number]): Tool {
  const output = outputSchema(tool.outputSchema);
  return {
    name,
    ...(tool.title === "" ? {} : { title: tool.title.slice(0, 128) }),
    description: tool.description.slice(0, LONGEST_DESCRIPTION),
    inputSchema: inputSchema(tool.inputSchema),
    ...(output ? { outputSchema: output } : {}),
  } as Tool;
}

/** The same for two statuses that offer the same. */
function printOf({ pluginId, state, tools }: PluginStatus): string {
  return hash("sha256", JSON.stringify([pluginId, state, tools]), "base64");
}

function time({ updateTime }: PluginStatus): number {
  return updateTime?.getTime() ?? 0;
}
