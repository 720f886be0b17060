// Warren as the gateway calls the agent: typed clients, with a deadline, trace context and a caller's assertion on each call.
import type { Handlers } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { echo, STREAM_TEXT, type Subject } from "./subject.ts";
import { assertionsOf, joinMesh, TIMEOUT_MS } from "./warren-member.ts";

const handlers: Handlers<typeof AgentServiceDefinition> = {
  chat: async ({ message }) => ({ message: await echo(message) }),
  async *streamChat({ message }) {
    const count = Number(message);
    for (let sequence = 1; sequence <= count; sequence++)
      yield { sequence, event: { $case: "text", value: { text: STREAM_TEXT } } };
  },
  listSessions: notMeasured,
  getSession: notMeasured,
  async *complete() {
    yield await notMeasured();
  },
  listModels: notMeasured,
};

function notMeasured(): Promise<never> {
  return Promise.reject(new Error("The benchmark does not call this"));
}

/** Warren's mesh, with every call sampled or none. */
export function warren(sampling: { sampled: boolean }): Subject {
  return {
    async serve(target) {
      const mesh = await joinMesh("agent", target, sampling);
      await mesh.serve(AgentServiceDefinition, handlers);
      return { close: () => mesh.close() };
    },
    async connect(target) {
      const mesh = await joinMesh("gateway", target, sampling);
      const agent = mesh.client(AgentServiceDefinition);
      const assertionOf = assertionsOf(mesh);
      const optionsOf = (caller: number) => ({ timeoutMs: TIMEOUT_MS, assertion: assertionOf(caller) });
      return {
        echo: async (message, caller) => (await agent.chat({ message }, optionsOf(caller))).message,
        stream: async (count) => {
          let seen = 0;
          for await (const _ of agent.streamChat({ message: `${count}` }, optionsOf(0))) seen += 1;
          return seen;
        },
        close: () => mesh.close(),
      };
    },
  };
}
