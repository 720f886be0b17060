// Takes one step of a model and gathers what it said.
import type {
  ModelMessage,
  ModelProvider,
  ModelTool,
  ModelToolCall,
  StepEvent,
  StepRequest,
} from "../../src/model/provider.ts";

/** A whole step. */
export interface Step {
  readonly text: string;
  /** The pieces of the text as they came. */
  readonly pieces: readonly string[];
  readonly toolCalls: readonly ModelToolCall[];
  readonly finish: Extract<StepEvent, { type: "finish" }> | undefined;
}

/** A request with what a test does not care about filled in. */
export function stepRequest(messages: readonly ModelMessage[], options: Partial<StepRequest> = {}): StepRequest {
  return { instructions: "", messages, tools: [], toolUse: "auto", signal: new AbortController().signal, ...options };
}

/** Runs one step to its end. */
export async function takeStep(provider: ModelProvider, request: StepRequest): Promise<Step> {
  const pieces: string[] = [];
  const toolCalls: ModelToolCall[] = [];
  let finish: Step["finish"];
  for await (const event of provider.step(request)) {
    if (event.type === "text") pieces.push(event.text);
    else if (event.type === "tool-call") toolCalls.push({ id: event.id, name: event.name, arguments: event.arguments });
    else finish = event;
  }
  return { text: pieces.join(""), pieces, toolCalls, finish };
}

/** A conversation in which the person says `said` one after the other and gets each reply of `provider`. */
export async function converse(
  provider: ModelProvider,
  said: readonly string[],
  tools: readonly ModelTool[] = [],
): Promise<Step[]> {
  const messages: ModelMessage[] = [];
  const steps: Step[] = [];
  for (const text of said) {
    messages.push({ role: "user", text });
    const step = await takeStep(provider, stepRequest(messages, { tools }));
    messages.push({ role: "assistant", text: step.text, toolCalls: step.toolCalls });
    for (const call of step.toolCalls)
      messages.push({ role: "tool", callId: call.id, name: call.name, text: "done", failed: false });
    steps.push(step);
  }
  return steps;
}
