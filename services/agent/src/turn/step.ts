// One step of the model, gathered while its text passes through.
import type { ChatEvent, Usage } from "@warren/proto/warren/agent/v1/agent";
import type { JsonObject, ModelProvider, StepRequest } from "../model/provider.ts";

/** What happens in a turn, as the contract tells it; `completed` is the last. */
export type TurnEvent = NonNullable<ChatEvent["event"]>;

/** A tool call as the model asked for it. */
export interface RequestedCall {
  readonly name: string;
  readonly arguments: JsonObject;
  readonly invalid?: string;
}

/** A whole step. */
export interface TakenStep {
  readonly text: string;
  readonly requested: readonly RequestedCall[];
  readonly usage: Usage;
}

/**
 * Takes a step: tells its text piece by piece, and returns the whole of it.
 * @param opening Stands before the first piece, where an earlier step has spoken.
 */
export async function* takeStep(
  model: ModelProvider,
  request: StepRequest,
  opening: string,
): AsyncGenerator<TurnEvent, TakenStep, undefined> {
  let text = "";
  const requested: RequestedCall[] = [];
  let usage: Usage = { inputTokens: 0, outputTokens: 0, totalTokens: 0, model: model.name, steps: 1 };
  for await (const event of model.step(request)) {
    if (event.type === "text") {
      if (event.text === "") continue;
      yield { $case: "text", value: { text: text === "" ? opening + event.text : event.text } };
      text += event.text;
    } else if (event.type === "tool-call") {
      const { name, invalid } = event;
      requested.push({ name, arguments: event.arguments, ...(invalid === undefined ? {} : { invalid }) });
    } else {
      const { inputTokens, outputTokens } = event.usage;
      usage = { inputTokens, outputTokens, totalTokens: inputTokens + outputTokens, model: event.model, steps: 1 };
    }
  }
  return { text, requested, usage };
}
