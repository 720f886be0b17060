import type { Command } from "commander";
import { answer, connect, type Context, type GlobalOptions } from "../../context.ts";
import { interrupted } from "../../errors.ts";
import { askYesNo } from "../../output/ask.ts";
import { oneLine } from "../../output/sanitize.ts";

interface RemoveOptions extends GlobalOptions {
  readonly yes?: boolean;
}

/** `warren plugin remove`. */
export function registerRemove(plugin: Command, context: Context): void {
  plugin
    .command("remove")
    .description("stop a plugin on every host and forget it")
    .argument("<id>")
    .option("-y, --yes", "do not ask")
    .action(async (id: string, _options: RemoveOptions, command: Command) =>
      remove(context, id, command.optsWithGlobals()),
    );
}

async function remove(context: Context, id: string, options: RemoveOptions): Promise<void> {
  const client = await connect(context, options);
  if (context.terminal.interactive && !options.yes && !options.json)
    if (!(await askYesNo(context.terminal, `Remove ${oneLine(id)}?`))) throw interrupted();
  await client.json({ method: "DELETE", path: `/v1/plugins/${encodeURIComponent(id)}` });
  answer(context, options, { id, removed: true }, () => `Removed ${id}.`);
}
