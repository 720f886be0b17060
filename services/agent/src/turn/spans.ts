// Spans around turns, model steps and tool calls, in OpenTelemetry's conventions for generative AI. They say what was
// called and what it cost, never what was said.
// https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/
import { type Attributes, context, type Span, SpanKind, SpanStatusCode, trace, type Tracer } from "@opentelemetry/api";
import { RpcError, statusName } from "@warren/mesh";
import type { ModelProvider } from "../model/provider.ts";
import { ModelError } from "../model/provider.ts";
import type { TurnEvent } from "./step.ts";
import type { ToolRunner } from "./tools.ts";

const AGENT_NAME = "warren";

/** The tracer of this service; without a registered provider its spans cost nothing. */
export function agentTracer(): Tracer {
  return trace.getTracer("@warren/agent");
}

/** `invoke_agent warren` around a turn. */
export function traceTurn(tracer: Tracer, turn: AsyncIterable<TurnEvent>): AsyncGenerator<TurnEvent> {
  const attributes = { "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": AGENT_NAME };
  return spanned(tracer, `invoke_agent ${AGENT_NAME}`, SpanKind.INTERNAL, attributes, turn, (event, span) => {
    if (event.$case === "started") span.setAttribute("gen_ai.conversation.id", event.value.sessionId);
    if (event.$case !== "completed" || !event.value.usage) return;
    const { model, inputTokens, outputTokens, steps } = event.value.usage;
    span.setAttributes({ ...usageAttributes(model, inputTokens, outputTokens), "warren.agent.steps": steps });
  });
}

/** `chat <model>` around each step of a model. */
export function traceModel(tracer: Tracer, provider: ModelProvider): ModelProvider {
  const [system = provider.name, ...rest] = provider.name.split(":");
  const model = rest.length > 0 ? rest.join(":") : system;
  const attributes = { "gen_ai.operation.name": "chat", "gen_ai.provider.name": system, "gen_ai.request.model": model };
  return {
    name: provider.name,
    step: (request) =>
      spanned(tracer, `chat ${model}`, SpanKind.CLIENT, attributes, provider.step(request), (event, span) => {
        if (event.type !== "finish") return;
        span.setAttributes(usageAttributes(event.model, event.usage.inputTokens, event.usage.outputTokens));
      }),
  };
}

/** `execute_tool <name>` around each call of a tool. */
export function traceTools(tracer: Tracer, run: ToolRunner): ToolRunner {
  return (call, options) => {
    const attributes = {
      "gen_ai.operation.name": "execute_tool",
      "gen_ai.tool.name": call.name,
      "gen_ai.tool.call.id": call.id,
      "gen_ai.tool.type": "function",
      "warren.plugin.id": call.pluginId,
    };
    return tracer.startActiveSpan(
      `execute_tool ${call.name}`,
      { kind: SpanKind.INTERNAL, attributes },
      async (span) => {
        try {
          const done = await run(call, options);
          if (done.error !== "") markFailed(span, "tool_error");
          return done;
        } catch (error) {
          markFailed(span, errorType(error));
          throw error;
        } finally {
          span.end();
        }
      },
    );
  };
}

/** A span around an iteration: whatever `source` does between two events has the span as its parent. */
async function* spanned<T>(
  tracer: Tracer,
  name: string,
  kind: SpanKind,
  attributes: Attributes,
  source: AsyncIterable<T>,
  see: (event: T, span: Span) => void,
): AsyncGenerator<T> {
  const span = tracer.startSpan(name, { kind, attributes });
  const inside = trace.setSpan(context.active(), span);
  const iterator = source[Symbol.asyncIterator]();
  let done = false;
  try {
    for (;;) {
      const next = await context.with(inside, () => iterator.next());
      done = next.done === true;
      if (next.done) return;
      see(next.value, span);
      yield next.value;
    }
  } catch (error) {
    done = true;
    markFailed(span, errorType(error));
    throw error;
  } finally {
    if (!done) await context.with(inside, () => iterator.return?.());
    span.end();
  }
}

function usageAttributes(model: string, inputTokens: number, outputTokens: number): Attributes {
  return {
    "gen_ai.response.model": model,
    "gen_ai.usage.input_tokens": inputTokens,
    "gen_ai.usage.output_tokens": outputTokens,
  };
}

function markFailed(span: Span, type: string): void {
  span.setAttribute("error.type", type);
  span.setStatus({ code: SpanStatusCode.ERROR });
}

/** A code, never a message: messages may quote what was said. */
function errorType(error: unknown): string {
  if (error instanceof RpcError) return statusName(error.code);
  if (error instanceof ModelError) return error.kind;
  return error instanceof Error ? error.name : "unknown";
}
