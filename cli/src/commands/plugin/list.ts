import { ListPluginsResponse, type Plugin, PluginState } from "@warren/proto/warren/plugins/v1/plugins";
import type { Command } from "commander";
import { answer, connect, type Context, type GlobalOptions } from "../../context.ts";
import { table } from "../../output/table.ts";

/** `warren plugin list`. */
export function registerList(plugin: Command, context: Context): void {
  plugin
    .command("list")
    .description("list the installed plugins and their tools")
    .action(async (_options: GlobalOptions, command: Command) => list(context, command.optsWithGlobals()));
}

async function list(context: Context, options: GlobalOptions): Promise<void> {
  const { terminal } = context;
  const json = await (await connect(context, options)).list("/v1/plugins", "plugins");
  const { plugins } = ListPluginsResponse.fromJSON(json);
  answer(context, options, json, () =>
    table(
      plugins,
      [
        { title: "ID", cell: (each) => each.id },
        { title: "VERSION", cell: (each) => each.version },
        { title: "RUNTIME", cell: (each) => each.runtime },
        { title: "STATE", cell: stateOf },
        { title: "HOSTS", cell: (each) => String(each.runningHosts) },
        { title: "TOOLS", cell: (each) => each.tools.map((tool) => tool.name).join(" ") },
      ],
      {
        none: 'No plugin is installed. Install one with "warren plugin add <folder>".',
        width: terminal.stdout.columns,
        heading: (text) => terminal.paint("bold", text),
      },
    ),
  );
}

/** A plugin's state in a word, with the reason where there is one. */
export function stateOf(plugin: Plugin): string {
  const name = Object.entries(PluginState).find(([, value]) => value === plugin.state)?.[0] ?? "UNKNOWN";
  const state = name === "UNSPECIFIED" || name === "UNRECOGNIZED" ? "unknown" : name.toLowerCase();
  return plugin.stateReason ? `${state}: ${plugin.stateReason}` : state;
}
