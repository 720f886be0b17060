import assert from "node:assert/strict";
import { test } from "node:test";
import { context as otelContext, trace } from "@opentelemetry/api";
import { startTelemetry } from "@warren/service";
import { agentTracer, traceModel, traceTools, traceTurn } from "../../src/turn/spans.ts";
import { finish, scriptedModel, toolsThat, turnsWith } from "../helpers/turns.ts";

test("one turn is one tree of spans: the agent, its model steps, its tools; nothing of what was said", async (t) => {
  const telemetry = await startTelemetry({ service: "agent", instanceId: "test", version: "0", env: {} });
  t.after(() => telemetry.shutdown());
  const tracer = agentTracer();
  let inTool = "";
  const runTool = toolsThat({
    get_current_time: () => {
      inTool = trace.getActiveSpan()?.spanContext().spanId ?? "";
      return "canary-result";
    },
    echo: () => {
      throw new Error("canary-error");
    },
  });
  const calls = [{ name: "get_current_time", arguments: { secret: "canary-argument" } }, { name: "echo" }];
  const model = { ...scriptedModel([{ calls }, { text: "canary-reply" }]), name: "openai:gpt:5" };
  const turns = turnsWith(traceModel(tracer, model), { runTool: traceTools(tracer, runTool) });

  const root = tracer.startSpan("root");
  const { response } = await otelContext.with(trace.setSpan(otelContext.active(), root), () =>
    finish(traceTurn(tracer, turns.run("canary-question"))),
  );
  root.end();

  const { traceId, spanId } = root.spanContext();
  const spans = telemetry.spans.read(traceId);
  const named = (name: string) => spans.filter((span) => span.name === name);
  const [agent] = named("invoke_agent warren");
  assert.equal(agent?.parentSpanId, spanId);
  assert.deepEqual(
    named("chat gpt:5").map((span) => span.parentSpanId),
    [agent?.spanId, agent?.spanId],
  );
  const [tool] = named("execute_tool get_current_time");
  assert.equal(tool?.parentSpanId, agent?.spanId);
  assert.equal(tool?.spanId, inTool, "what a tool's call does belongs to its span");
  assert.equal(spans.length, 6);

  const text = JSON.stringify(spans, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
  assert.doesNotMatch(text, /canary/);
  for (const told of [
    response.sessionId,
    "gen_ai.usage.input_tokens",
    "gen_ai.tool.call.id",
    "tool_error",
    "openai",
    "scripted-1",
  ]) {
    assert.ok(text.includes(told), told);
  }
});
