// Warren's keyed methods: one process that serves many keys, each an endpoint (a subscription) of its own, as a host of
// many plugins does.
import type { Handlers } from "@warren/mesh";
import { PluginServiceDefinition } from "@warren/proto/warren/plugins/v1/plugins";
import type { Subject } from "./subject.ts";
import { assertionsOf, joinMesh, TIMEOUT_MS } from "./warren-member.ts";

type PluginHandlers = Handlers<typeof PluginServiceDefinition>;

const handlers = Object.fromEntries(
  Object.keys(PluginServiceDefinition.methods).map((name) => [name, () => Promise.resolve({})]),
) as unknown as PluginHandlers;

/** The text of an echo travels as the tool's name; the answer is empty. */
export function warrenKeyed(keys: number): Subject {
  const sampling = { sampled: true };
  return {
    async serve(target) {
      const mesh = await joinMesh("plugin-host", target, sampling);
      await mesh.serve(PluginServiceDefinition, handlers);
      for (let key = 0; key < keys; key++) await mesh.serveKey(PluginServiceDefinition, "callTool", `plugin-${key}`);
      return { close: () => mesh.close() };
    },
    async connect(target) {
      const mesh = await joinMesh("gateway", target, sampling);
      const plugins = mesh.client(PluginServiceDefinition);
      const assertionOf = assertionsOf(mesh);
      let next = 0;
      return {
        echo: async (tool, caller) => {
          const pluginId = `plugin-${next++ % keys}`;
          await plugins.callTool({ pluginId, tool }, { timeoutMs: TIMEOUT_MS, assertion: assertionOf(caller) });
          return tool;
        },
        close: () => mesh.close(),
      };
    },
  };
}
