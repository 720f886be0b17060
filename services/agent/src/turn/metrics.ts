// What the agent counts: turns, model steps, tokens, tool calls. Labels are names of models and plugins that an operator
// has chosen, never what a model or a person said.
import { Counter, Gauge, Histogram, type Registry, SECONDS, startAtZero } from "@warren/service";
import type { ModelProvider } from "../model/provider.ts";
import { isMove } from "./progress.ts";
import type { TurnEvent } from "./step.ts";
import type { ToolRunner } from "./tools.ts";

/** Wraps what a turn is made of, so that it is counted. */
export interface AgentMetrics {
  turn(turn: AsyncIterable<TurnEvent>): AsyncGenerator<TurnEvent>;
  model(provider: ModelProvider): ModelProvider;
  tools(run: ToolRunner): ToolRunner;
}

/** Adds the agent's metrics to a registry. */
export function createAgentMetrics(registry: Registry): AgentMetrics {
  const registers = [registry];
  const active = new Gauge({
    name: "warren_agent_active_turns",
    help: "Turns under way: at most one a session",
    registers,
  });
  const turns = new Histogram({
    name: "warren_agent_turn_duration_seconds",
    help: "Time of a turn, by how it ended",
    labelNames: ["outcome"] as const,
    buckets: SECONDS,
    registers,
  });
  startAtZero(turns, { outcome: ["completed", "failed", "cancelled"] });
  const steps = new Histogram({
    name: "warren_agent_model_duration_seconds",
    help: "Time of one step of a model, by how it ended",
    labelNames: ["model", "outcome"] as const,
    buckets: SECONDS,
    registers,
  });
  const tokens = new Counter({
    name: "warren_agent_tokens_total",
    help: "Tokens that models have read and written",
    labelNames: ["model", "direction"] as const,
    registers,
  });
  const toolCalls = new Counter({
    name: "warren_agent_tool_calls_total",
    help: "Calls of tools, by how they ended",
    labelNames: ["plugin", "outcome"] as const,
    registers,
  });
  return {
    turn: async function* (turn) {
      active.inc();
      const started = performance.now();
      let outcome = "cancelled";
      try {
        for await (const event of turn) {
          if (event.$case === "completed") outcome = "completed";
          yield event;
        }
      } catch (error) {
        // One that goes on at another replica is counted there.
        if (!isMove(error)) outcome = "failed";
        throw error;
      } finally {
        active.dec();
        turns.observe({ outcome }, (performance.now() - started) / 1000);
      }
    },
    model: (provider) => ({
      name: provider.name,
      step: async function* (request) {
        const model = provider.name;
        const started = performance.now();
        let outcome = "cancelled";
        try {
          for await (const event of provider.step(request)) {
            if (event.type === "finish") {
              outcome = "ok";
              tokens.inc({ model, direction: "input" }, event.usage.inputTokens);
              tokens.inc({ model, direction: "output" }, event.usage.outputTokens);
            }
            yield event;
          }
        } catch (error) {
          outcome = "failed";
          throw error;
        } finally {
          steps.observe({ model, outcome }, (performance.now() - started) / 1000);
        }
      },
    }),
    tools: (run) => async (call, options) => {
      const count = (outcome: string): void => toolCalls.inc({ plugin: call.pluginId, outcome });
      try {
        const done = await run(call, options);
        count(done.error === "" ? "ok" : "failed");
        return done;
      } catch (error) {
        count("cancelled");
        throw error;
      }
    },
  };
}
