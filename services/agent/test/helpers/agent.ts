// The agent as main wires it, on a throwaway NATS with the real permissions, and callers as the gateway makes them.
import type { TestContext } from "node:test";
import type { Mesh, ServiceClient } from "@warren/mesh";
import { AgentServiceDefinition, type ChatEvent } from "@warren/proto/warren/agent/v1/agent";
import { silentLog, startNats, type TestNats, waitUntil } from "@warren/testing";
import { createAgent } from "../../src/app.ts";
import { createOfflineModel } from "../../src/model/offline/offline.ts";
import type { ModelProvider } from "../../src/model/provider.ts";
import { servePlugins, type TestPlugins } from "./plugins.ts";

/** A caller of the agent's methods. */
export type AgentClient = ServiceClient<AgentServiceDefinition>;

export interface TestAgent {
  readonly nats: TestNats;
  readonly plugins: TestPlugins;
  /** The agent's own membership of the mesh. */
  readonly mesh: Mesh;
  readonly gateway: Mesh;
  /** Calls as this principal would through the gateway. */
  as(principal: string, scopes?: readonly string[]): AgentClient;
  /** One more replica of the agent. */
  replica(options?: AgentTestOptions): Promise<Mesh>;
}

export interface AgentTestOptions {
  readonly models?: readonly ModelProvider[];
  readonly maxSteps?: number;
  readonly toolTimeoutMs?: number;
  readonly instanceId?: string;
}

/** Scopes of a person's device. */
export const DEVICE_SCOPES = ["chat", "sessions:read", "plugins:read", "plugins:call"];

/** Starts an agent that ends with the test. */
export async function startAgent(t: TestContext, options: AgentTestOptions = {}): Promise<TestAgent> {
  const nats = await startNats(t);
  const plugins = await servePlugins(await nats.connect("plugin-host"));
  const replica = async (more: AgentTestOptions = {}): Promise<Mesh> => {
    const {
      models = [createOfflineModel()],
      maxSteps = 16,
      toolTimeoutMs = 5_000,
      instanceId,
    } = { ...options, ...more };
    const mesh = await nats.connect("agent", instanceId ? { instanceId } : {});
    const settings = { maxSteps, toolTimeoutMs, contextCharacters: 100_000 };
    const agent = await createAgent({ mesh, log: silentLog, models, settings });
    t.after(() => agent.stop());
    return mesh;
  };
  const mesh = await replica();
  const gateway = await nats.connect("gateway");
  const client = gateway.client(AgentServiceDefinition);
  return {
    nats,
    plugins,
    mesh,
    gateway,
    replica,
    as(principal, scopes = DEVICE_SCOPES) {
      const caller = { principal, tenant: "default", scopes, expiresAt: Date.now() + 600_000 };
      const assertion = gateway.assert(caller);
      return {
        chat: (request, more) => client.chat(request, { assertion, ...more }),
        streamChat: (request, more) => client.streamChat(request, { assertion, ...more }),
        listSessions: (request, more) => client.listSessions(request, { assertion, ...more }),
        getSession: (request, more) => client.getSession(request, { assertion, ...more }),
        complete: (request, more) => client.complete(request, { assertion, ...more }),
        listModels: (request, more) => client.listModels(request, { assertion, ...more }),
      };
    },
  };
}

/** A whole stream. */
export async function gather(stream: AsyncIterable<ChatEvent>): Promise<ChatEvent[]> {
  const events: ChatEvent[] = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** The text that a stream's reader saw. */
export function textOf(events: readonly ChatEvent[]): string {
  return events.flatMap(({ event }) => (event?.$case === "text" ? [event.value.text] : [])).join("");
}

/** Waits for a condition, 10 s at most. */
export async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  await waitUntil(what, 10_000, async () => ((await condition()) ? true : undefined));
}

/** Waits until the agent offers this tool: it learns of plugins by watching. */
export async function untilOffered(agent: AgentClient, tool: string): Promise<void> {
  await until(`${tool} offered`, async () =>
    (await agent.chat({ message: "What can you do?" })).message.includes(tool),
  );
}
