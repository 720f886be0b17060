import { Plugin } from "@warren/proto/warren/plugins/v1/plugins";
import type { Command } from "commander";
import type { Client } from "../../api/client.ts";
import { collect } from "../../collect.ts";
import { answer, connect, type Context, type GlobalOptions } from "../../context.ts";
import { CliError, ExitCode, interrupted, usageError } from "../../errors.ts";
import { askYesNo } from "../../output/ask.ts";
import { oneLine } from "../../output/sanitize.ts";
import type { PackedPlugin } from "../../parts.ts";
import { stateOf } from "./list.ts";
import { packed } from "./packed.ts";
import { upload } from "./upload.ts";

interface AddOptions extends GlobalOptions {
  readonly mcp?: string;
  readonly id?: string;
  readonly grant?: string[];
  readonly replace?: boolean;
  readonly yes?: boolean;
}

/** `warren plugin add`. */
export function registerAdd(plugin: Command, context: Context): void {
  plugin
    .command("add")
    .description("install a plugin from its folder, or any MCP stdio server")
    .argument("[folder]", "holds plugin.json")
    .option("--mcp <command line>", 'an MCP server, such as "npx -y @modelcontextprotocol/server-everything"')
    .option("--id <id>", "install under this id instead of its own")
    .option("--grant <permission>", "grant a permission, such as fs:read:/srv/docs; may be repeated", collect)
    .option("--replace", "replace the installed plugin of this id")
    .option("-y, --yes", "grant what the plugin requires without asking")
    .action(async (folder: string | undefined, _options: AddOptions, command: Command) =>
      add(context, folder, command.optsWithGlobals()),
    );
}

async function add(context: Context, folder: string | undefined, options: AddOptions): Promise<void> {
  if ((folder === undefined) === (options.mcp === undefined))
    throw usageError("name either a plugin's folder or an MCP server with --mcp");
  await checkGrants(options.grant ?? []);
  const client = await connect(context, options);
  const source =
    folder === undefined
      ? { mcp: { commandLine: options.mcp }, grants: options.grant ?? [] }
      : await sourceFromFolder(context, client, folder, options);
  const what = oneLine(folder ?? options.mcp ?? "");
  if (!options.json) context.terminal.note(context.terminal.paintNote("dim", `installing ${what} …`));
  const json = await client.json({
    method: "POST",
    path: "/v1/plugins",
    body: { ...source, ...(options.id ? { id: options.id } : {}), ...(options.replace ? { replace: true } : {}) },
    // The contract allows the installation 180 s: the gateway, which knows why, is to speak first.
    timeout: 200_000,
  });
  const plugin = Plugin.fromJSON(json);
  answer(context, options, json, () =>
    [
      `Installed ${oneLine(plugin.id)} ${oneLine(plugin.version)}: ${oneLine(stateOf(plugin))}.`,
      ...(plugin.grants.length ? [`It may: ${oneLine(plugin.grants.join(", "))}.`] : []),
      `Tools: ${oneLine(plugin.tools.map((tool) => tool.name).join(", ")) || "none"}.`,
    ].join("\n"),
  );
}

async function sourceFromFolder(
  context: Context,
  client: Client,
  folder: string,
  options: AddOptions,
): Promise<{ packageDigest: string; grants: readonly string[] }> {
  const plugin = await packed(context, folder);
  const grants = await agreedGrants(context, plugin, options);
  await upload(client, plugin);
  return { packageDigest: plugin.digest, grants };
}

/** What is granted: what was typed, or all that is required once a person says yes. Never more than was shown. */
async function agreedGrants(context: Context, { manifest }: PackedPlugin, options: AddOptions): Promise<string[]> {
  const { missingGrants } = await import("@warren/plugin-manifest");
  const given = options.grant ?? [];
  const missing = missingGrants(given, manifest.permissions?.required ?? []);
  if (!missing.length) return given;
  const list = missing.map((permission) => `  ${oneLine(permission)}`).join("\n");
  if (options.yes) return [...given, ...missing];
  const { terminal } = context;
  if (given.length || options.json || !terminal.interactive)
    throw new CliError(
      ExitCode.failure,
      `${oneLine(manifest.id)} requires permissions that were not granted:\n${list}`,
      "grant each with --grant, or all of them with --yes",
    );
  terminal.note(`${terminal.paintNote("bold", oneLine(manifest.id))} requires:\n${list}`);
  if (!(await askYesNo(terminal, "Grant this and install it?"))) throw interrupted();
  return [...given, ...missing];
}

async function checkGrants(grants: readonly string[]): Promise<void> {
  if (!grants.length) return;
  const { parsePermission } = await import("@warren/plugin-manifest");
  for (const grant of grants) {
    try {
      parsePermission(grant);
    } catch (error) {
      throw usageError(error instanceof Error ? error.message : String(error));
    }
  }
}
