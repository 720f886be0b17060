import { Plugin, ToolResult } from "@warren/proto/warren/plugins/v1/plugins";
import type { Command } from "commander";
import type { Client } from "../../api/client.ts";
import { isRecord, ProblemError } from "../../api/problem.ts";
import { connect, type Context, type GlobalOptions } from "../../context.ts";
import { ExitCode, QuietExit, usageError } from "../../errors.ts";
import { toolText } from "../../output/tool-result.ts";
import { argumentsFromPairs, pairOf } from "./arguments.ts";

interface CallOptions extends GlobalOptions {
  readonly args?: string;
}

/** `warren plugin call`. */
export function registerCall(plugin: Command, context: Context): void {
  plugin
    .command("call")
    .description("call a tool of a plugin")
    .argument("<id>", "the plugin")
    .argument("<tool>", "the tool's name, as the list shows it")
    .argument("[key=value...]", "arguments, read as the tool's schema says")
    .option("--args <json>", "arguments as one JSON object")
    .action(async (id: string, tool: string, pairs: string[], _options: CallOptions, command: Command) =>
      call(context, { id, tool, pairs }, command.optsWithGlobals()),
    );
}

async function call(
  context: Context,
  { id, tool, pairs }: { id: string; tool: string; pairs: readonly string[] },
  options: CallOptions,
): Promise<void> {
  if (pairs.length && options.args !== undefined) throw usageError("--args and key=value exclude each other");
  const given = options.args === undefined ? undefined : objectOf(options.args);
  const split = pairs.map(pairOf);
  const client = await connect(context, options);
  const toolArguments = given ?? (split.length ? argumentsFromPairs(split, await inputSchema(client, id, tool)) : {});
  const json = await client.json({
    method: "POST",
    path: `/v1/plugins/${encodeURIComponent(id)}/tools/${encodeURIComponent(tool)}:call`,
    body: { arguments: toolArguments },
    timeout: 40_000,
  });
  const result = ToolResult.fromJSON(json);
  if (options.json) context.terminal.json(json);
  else if (result.isError) context.terminal.note(`${context.terminal.paintNote("red", "error:")} ${toolText(result)}`);
  else context.terminal.print(toolText(result));
  if (result.isError) throw new QuietExit(ExitCode.failure);
}

/** The tool's schema; undefined when the caller may call the plugin but not look at it. */
async function inputSchema(client: Client, id: string, tool: string): Promise<Record<string, unknown> | undefined> {
  try {
    const plugin = Plugin.fromJSON(await client.json({ method: "GET", path: `/v1/plugins/${encodeURIComponent(id)}` }));
    return plugin.tools.find((each) => each.name === tool)?.inputSchema;
  } catch (error) {
    if (error instanceof ProblemError && error.exitCode === ExitCode.denied && error.problem.status === 403)
      return undefined;
    throw error;
  }
}

function objectOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (isRecord(value)) return value;
  } catch {
    // Said below.
  }
  throw usageError("--args takes one JSON object", `such as --args '{"path":"/srv/docs"}'`);
}
