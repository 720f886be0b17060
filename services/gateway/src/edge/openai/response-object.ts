// The objects of OpenAI's Responses API: a response and the items of its output.
import { type CompleteFinished, FinishReason, type FunctionCall } from "@warren/proto/warren/agent/v1/agent";
import { newId, seconds } from "./answer.ts";
import type { ResponsesRequest } from "./responses-request.ts";

type Status = "in_progress" | "completed" | "incomplete";

/** An item of a response's output. */
export type OutputItem = Readonly<Record<string, unknown>> & { readonly id: string };

/** One response, from its beginning to its end. */
export class ResponseObject {
  readonly #request: ResponsesRequest;
  readonly #id = newId("resp_");
  readonly #createdAt = seconds();
  readonly #output: OutputItem[] = [];

  constructor(request: ResponsesRequest) {
    this.#request = request;
  }

  /** How many items of output there are. */
  get length(): number {
    return this.#output.length;
  }

  add(item: OutputItem): void {
    this.#output.push(item);
  }

  /** As it is while it goes on, or at its end. */
  toJSON(finished?: CompleteFinished): Record<string, unknown> {
    const { complete, echo } = this.#request;
    const cut = finished && CUT[finished.reason];
    const status: Status = finished === undefined ? "in_progress" : cut === undefined ? "completed" : "incomplete";
    return {
      id: this.#id,
      object: "response",
      created_at: this.#createdAt,
      status,
      error: null,
      incomplete_details: cut === undefined ? null : { reason: cut },
      model: finished?.usage?.model ?? complete.model,
      output: [...this.#output],
      ...echo,
      usage: finished?.usage ? usageOf(finished.usage) : null,
    };
  }
}

/** Why a response is not whole. */
const CUT: Readonly<Record<number, string>> = {
  [FinishReason.LENGTH]: "max_output_tokens",
  [FinishReason.CONTENT_FILTER]: "content_filter",
};

/** What the assistant says. */
export function messageItem(id: string, status: Status, text?: string): OutputItem {
  return { id, type: "message", status, role: "assistant", content: text === undefined ? [] : [textPart(text)] };
}

/** Text within a message. */
export function textPart(text: string): object {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}

/** A call of one of the caller's tools. */
export function callItem(id: string, status: Status, { id: call_id, name }: FunctionCall, args: string): OutputItem {
  return { id, type: "function_call", status, call_id, name, arguments: args };
}

function usageOf({ inputTokens, outputTokens, totalTokens }: NonNullable<CompleteFinished["usage"]>): object {
  return {
    input_tokens: inputTokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: totalTokens,
  };
}
