import type { Command } from "commander";
import type { Context } from "../context.ts";
import { registerAdd } from "./plugin/add.ts";
import { registerCall } from "./plugin/call.ts";
import { registerList } from "./plugin/list.ts";
import { registerLogs } from "./plugin/logs.ts";
import { registerPack } from "./plugin/pack.ts";
import { registerRemove } from "./plugin/remove.ts";

/** `warren plugin`: what is installed, and the calling of its tools. */
export function registerPlugin(program: Command, context: Context): void {
  const plugin = program.command("plugin").description("install, call and remove plugins");
  registerAdd(plugin, context);
  registerList(plugin, context);
  registerCall(plugin, context);
  registerLogs(plugin, context);
  registerRemove(plugin, context);
  registerPack(plugin, context);
}
