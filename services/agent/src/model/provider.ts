// The port behind which every model sits: one step of a conversation at a time. The loop around it is ours.

/** JSON as an object. */
export type JsonObject = { readonly [key: string]: unknown };

/** A tool as a model sees it. */
export interface ModelTool {
  /** Unique in the request, `[A-Za-z0-9_-]{1,64}`: the strictest of the providers' rules. */
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the arguments, an object schema. */
  readonly inputSchema: JsonObject;
}

/** A tool call that a model asked for. */
export interface ModelToolCall {
  readonly id: string;
  /** As offered: {@link ModelTool.name}. */
  readonly name: string;
  readonly arguments: JsonObject;
}

/** What was said so far, oldest first. Every call of an assistant's message is answered by a tool message after it. */
export type ModelMessage =
  | { readonly role: "user"; readonly text: string }
  | { readonly role: "assistant"; readonly text: string; readonly toolCalls: readonly ModelToolCall[] }
  | {
      readonly role: "tool";
      readonly callId: string;
      readonly name: string;
      readonly text: string;
      readonly failed: boolean;
    };

/** How an answer is drawn and where it ends; what is absent is the model's own choice. */
export interface Sampling {
  /** Tokens of the answer at most. */
  readonly maxOutputTokens?: number;
  /** The answer ends before any of these. */
  readonly stop?: readonly string[];
  readonly temperature?: number;
  readonly topP?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly seed?: number;
}

/** One step: from everything said so far to text, tool calls, or both. */
export interface StepRequest {
  /** Who the model is and how to behave; not part of the conversation. */
  readonly instructions: string;
  readonly messages: readonly ModelMessage[];
  readonly tools: readonly ModelTool[];
  /**
   * `none`: the model must answer in words; `tools` still explain the calls of the past. `required`: it must call one.
   * `tool`: it must call this one.
   */
  readonly toolUse: "auto" | "none" | "required" | { readonly tool: string };
  /** The caller has chosen the tools: every one of them is offered, however many. */
  readonly toolsChosen?: boolean;
  readonly sampling?: Sampling;
  /** The answer is JSON, of this schema where there is one. */
  readonly json?: { readonly schema?: JsonObject };
  /** Ends the step: the stream then throws the signal's reason. */
  readonly signal: AbortSignal;
}

/** What a step cost, in tokens as the model counts them. */
export interface StepUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** Why a step ended: all was said, or a stop sequence met; the most tokens; a call of a tool; the provider held back the rest. */
export type StepEnd = "stop" | "length" | "tool-calls" | "content-filter";

/** A piece of a step. `finish` is the last one, and always comes. */
export type StepEvent =
  | { readonly type: "text"; readonly text: string }
  | {
      readonly type: "tool-call";
      readonly id: string;
      readonly name: string;
      readonly arguments: JsonObject;
      /** Why the call cannot be made as the model wrote it. */
      readonly invalid?: string;
    }
  | { readonly type: "finish"; readonly usage: StepUsage; readonly model: string; readonly reason: StepEnd };

/** A model that can take a step. */
export interface ModelProvider {
  /** As configured: `offline`, `openai-compatible:llama3`. */
  readonly name: string;
  /** @throws ModelError when the model cannot answer; the signal's reason when it aborts. */
  step(request: StepRequest): AsyncIterable<StepEvent>;
}

/**
 * Why a model could not answer. `unavailable`: not reached, overloaded or broken, another may do;
 * `misconfigured`: the key or the model's name is refused, an operator must mend it;
 * `rejected`: it was reached and refuses this very request.
 */
export type ModelErrorKind = "unavailable" | "misconfigured" | "rejected";

/** A model could not answer. The message is safe to show: it holds neither key nor conversation. */
export class ModelError extends Error {
  override readonly name = "ModelError";
  readonly kind: ModelErrorKind;
  readonly provider: string;

  constructor(kind: ModelErrorKind, provider: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
    this.provider = provider;
  }
}
