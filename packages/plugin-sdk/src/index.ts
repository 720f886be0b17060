import { checkDefinition, type PluginDefinition } from "./definition.ts";
import { Lifecycle } from "./lifecycle.ts";
import { serveMcp } from "./mcp-server.ts";
import { type PluginIo, processIo } from "./process-io.ts";

export { type JsonSchema, schemaProblems } from "./arguments.ts";
export type {
  ContentBlock,
  Health,
  Host,
  LogLevel,
  PluginContext,
  PluginDefinition,
  SecretLease,
  ToolContext,
  ToolDefinition,
  ToolOutput,
} from "./definition.ts";
export { HostError } from "./host-channel.ts";
export type { PluginIo } from "./process-io.ts";

/**
 * Runs a plugin: serves its tools over stdin and stdout until stdin ends or the process is asked to end, then runs `stop`
 * and exits, with 1 when `start` or `stop` failed.
 *
 * @throws TypeError when a tool is badly described.
 * @example
 * ```ts
 * definePlugin({
 *   name: "greeter",
 *   tools: {
 *     greet: {
 *       description: "Greets a person by name.",
 *       inputSchema: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
 *       run: ({ name }: { name: string }) => `Hello, ${name}!`,
 *     },
 *   },
 * });
 * ```
 */
export function definePlugin(definition: PluginDefinition, io: PluginIo = processIo()): void {
  checkDefinition(definition);
  const lifecycle = new Lifecycle(definition, io);
  const finish = async (): Promise<void> => {
    try {
      await lifecycle.stop();
      io.exit(0);
    } catch (error) {
      lifecycle.log("the plugin did not stop well:", error);
      io.exit(1);
    }
  };
  io.onTerminate(() => io.input.destroy());
  // Nobody reads the answers any more: there is nothing left to do.
  io.output.once("error", () => io.input.destroy());
  void serveMcp(definition, lifecycle, io).then(finish);
}
