// One step of a model for a caller that keeps its conversation and runs its tools itself.
import { randomBytes } from "node:crypto";
import { RpcError, StatusCode } from "@warren/mesh";
import { type CompleteEvent, type CompleteRequest, FinishReason } from "@warren/proto/warren/agent/v1/agent";
import type { ModelDirectory } from "../model/directory.ts";
import type { StepEnd, StepEvent } from "../model/provider.ts";
import { promptOf } from "./prompt.ts";

const REASONS: Readonly<Record<StepEnd, FinishReason>> = {
  stop: FinishReason.STOP,
  length: FinishReason.LENGTH,
  "tool-calls": FinishReason.TOOL_CALLS,
  "content-filter": FinishReason.CONTENT_FILTER,
};

/** Unique over all conversations: callers keep them, and models number theirs from the beginning each time. */
const newCallId = (): string => `call_${randomBytes(12).toString("base64url")}`;

/**
 * Takes the step, and tells it piece by piece.
 * @throws RpcError INVALID_ARGUMENT, NOT_FOUND (no such model), UNAVAILABLE or FAILED_PRECONDITION (no model answers);
 * the signal's reason when it aborts.
 */
export async function* complete(
  models: Pick<ModelDirectory, "find">,
  request: CompleteRequest,
  signal: AbortSignal,
): AsyncGenerator<CompleteEvent, void, undefined> {
  const model = models.find(request.model);
  const step = promptOf(request, signal);
  const offered = new Set(step.tools.map((tool) => tool.name));
  let calls = 0;
  for await (const event of model.step(step)) {
    if (event.type === "text") {
      if (event.text !== "") yield { event: { $case: "text", value: { text: event.text } } };
    } else if (event.type === "tool-call") {
      if (event.invalid !== undefined || !offered.has(event.name)) throw brokenCall(event);
      if (request.singleCall && calls > 0) continue;
      calls += 1;
      const { name, arguments: given } = event;
      yield { event: { $case: "call", value: { id: newCallId(), name, arguments: given } } };
    } else {
      const { inputTokens, outputTokens } = event.usage;
      const usage = {
        inputTokens,
        outputTokens,
        totalTokens: inputTokens + outputTokens,
        model: event.model,
        steps: 1,
      };
      const reason = calls > 0 ? FinishReason.TOOL_CALLS : REASONS[event.reason];
      yield { event: { $case: "finished", value: { reason, usage } } };
    }
  }
}

/** Another try may do better: models are not deterministic. */
function brokenCall({ invalid }: Extract<StepEvent, { type: "tool-call" }>): RpcError {
  const why = invalid ?? "it is not offered";
  return new RpcError(StatusCode.UNAVAILABLE, `The model asked for a tool in a way that cannot be used: ${why}`, {
    reason: "MODEL_UNAVAILABLE",
  });
}
