// Any model that the AI SDK speaks to, behind our port: one step, no retries, no tools run, nothing recorded.
import { APICallError, jsonSchema, type LanguageModel, Output, streamText } from "ai";
import { toSdkMessages, toSdkTools } from "./messages.ts";
import {
  type JsonObject,
  ModelError,
  type ModelProvider,
  type Sampling,
  type StepEnd,
  type StepEvent,
  type StepRequest,
} from "./provider.ts";

export interface AiSdkModelOptions {
  /** As configured: `openai:gpt-5`. */
  readonly name: string;
  readonly model: LanguageModel;
  /** Longest wait for the next piece of an answer, the first included, in milliseconds. */
  readonly stallMs: number;
}

/** Longest part of a provider's own words in an error. */
const MAX_QUOTE = 200;

/** A model reached through the AI SDK. */
export function createAiSdkModel({ name, model, stallMs }: AiSdkModelOptions): ModelProvider {
  return {
    name,
    async *step(request): AsyncGenerator<StepEvent> {
      const watchdog = createWatchdog(stallMs);
      const stop = new AbortController();
      try {
        const parts = open(model, request, AbortSignal.any([request.signal, watchdog.signal, stop.signal]));
        let finished = false;
        for await (const part of parts) {
          watchdog.reset();
          if (part.type === "text-delta") yield { type: "text", text: part.text };
          else if (part.type === "tool-call") yield toolCall(part);
          else if (part.type === "finish-step") {
            finished = true;
            const { inputTokens = 0, outputTokens = 0 } = part.usage;
            const usage = { inputTokens, outputTokens };
            yield { type: "finish", usage, model: part.response.modelId, reason: endOf(part.finishReason) };
          } else if (part.type === "error") throw part.error;
          else if (part.type === "abort") break;
          // While a slow reader makes us wait, the model is not to blame.
          watchdog.reset();
        }
        request.signal.throwIfAborted();
        watchdog.signal.throwIfAborted();
        if (!finished) throw new ModelError("unavailable", name, `${name} broke off its answer`);
      } catch (error) {
        request.signal.throwIfAborted();
        if (watchdog.signal.aborted) {
          throw new ModelError("unavailable", name, `${name} was silent for ${Math.round(stallMs / 1000)} s`, {
            cause: error,
          });
        }
        throw explain(name, error);
      } finally {
        watchdog.stop();
        stop.abort();
      }
    },
  };
}

function open(model: LanguageModel, request: StepRequest, abortSignal: AbortSignal) {
  const { instructions, messages, tools, toolUse, sampling = {}, json } = request;
  const toolChoice = typeof toolUse === "string" ? toolUse : { type: "tool" as const, toolName: toolUse.tool };
  const offered = tools.length > 0 ? { tools: toSdkTools(tools), toolChoice } : {};
  return streamText({
    model,
    messages: toSdkMessages(messages),
    ...(instructions === "" ? {} : { instructions }),
    ...offered,
    ...settingsOf(sampling),
    ...(json ? { output: json.schema ? Output.object({ schema: jsonSchema(json.schema) }) : Output.json() } : {}),
    abortSignal,
    maxRetries: 0,
    telemetry: { isEnabled: false, recordInputs: false, recordOutputs: false },
    // The SDK would print it: errors come through the stream.
    onError: () => undefined,
  }).fullStream;
}

function settingsOf({ stop, ...others }: Sampling) {
  return { ...others, ...(stop ? { stopSequences: [...stop] } : {}) };
}

const ENDS: Readonly<Record<string, StepEnd>> = {
  length: "length",
  "tool-calls": "tool-calls",
  "content-filter": "content-filter",
};

function endOf(finishReason: string): StepEnd {
  return ENDS[finishReason] ?? "stop";
}

function toolCall(part: {
  toolCallId: string;
  toolName: string;
  input: unknown;
  invalid?: boolean | undefined;
}): StepEvent {
  const call = { type: "tool-call", id: part.toolCallId, name: part.toolName } as const;
  const { input } = part;
  if (part.invalid !== true && isObject(input)) return { ...call, arguments: input };
  return {
    ...call,
    arguments: {},
    invalid: "the arguments were not a JSON object, or the tool is not offered: try again",
  };
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The SDK's error as ours. Its text stays out where it may hold a part of the key. */
function explain(name: string, error: unknown): ModelError {
  if (error instanceof ModelError) return error;
  if (!APICallError.isInstance(error))
    return new ModelError("unavailable", name, `${name} broke off, or sent an answer that cannot be read`, {
      cause: error,
    });
  const { statusCode } = error;
  if (statusCode === undefined)
    return new ModelError("unavailable", name, `${name} could not be reached`, { cause: error });
  if (statusCode === 401 || statusCode === 403) {
    return new ModelError("misconfigured", name, `${name} refuses the key (HTTP ${statusCode}): check the key file`, {
      cause: error,
    });
  }
  if (statusCode === 404) {
    return new ModelError(
      "misconfigured",
      name,
      `${name} is not known there (HTTP 404): check the model's name and the URL`,
      { cause: error },
    );
  }
  if (statusCode === 408 || statusCode === 429 || statusCode >= 500 || statusCode < 400) {
    return new ModelError("unavailable", name, `${name} answered HTTP ${statusCode}`, { cause: error });
  }
  const quote = error.message.slice(0, MAX_QUOTE);
  return new ModelError("rejected", name, `${name} refuses the request (HTTP ${statusCode}): ${quote}`, {
    cause: error,
  });
}

interface Watchdog {
  readonly signal: AbortSignal;
  reset(): void;
  stop(): void;
}

function createWatchdog(ms: number): Watchdog {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new Error("silent")), ms);
  return { signal: controller.signal, reset: () => void timer.refresh(), stop: () => clearTimeout(timer) };
}
