// The agent's answer as a response of OpenAI's Responses API, whole or as its events.
import type { CompleteEvent, FunctionCall } from "@warren/proto/warren/agent/v1/agent";
import { brokenOff, gather, newId } from "./answer.ts";
import { callItem, messageItem, ResponseObject, textPart } from "./response-object.ts";
import type { ResponsesRequest } from "./responses-request.ts";

/** The whole answer: an object `response`. */
export async function wholeResponse(request: ResponsesRequest, events: AsyncIterable<CompleteEvent>): Promise<object> {
  const response = new ResponseObject(request);
  const { text, calls, reason, usage } = await gather(events);
  if (text !== "") response.add(messageItem(newId("msg_"), "completed", text));
  for (const call of calls) response.add(callItem(newId("fc_"), "completed", call, argumentsOf(call)));
  return response.toJSON({ reason, usage });
}

/** The answer as server-sent events, numbered from 0. */
export class ResponseEvents {
  readonly #response: ResponseObject;
  readonly #events: AsyncIterable<CompleteEvent>;
  #number = 0;
  /** What the assistant says at the moment. */
  #saying: { readonly id: string; text: string } | undefined;

  constructor(request: ResponsesRequest, events: AsyncIterable<CompleteEvent>) {
    this.#response = new ResponseObject(request);
    this.#events = events;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    let begun = false;
    for await (const { event } of this.#events) {
      // Not before the model has begun: until then a failure still has a status of its own.
      if (!begun) {
        yield this.event("response.created", { response: this.#response.toJSON() });
        yield this.event("response.in_progress", { response: this.#response.toJSON() });
        begun = true;
      }
      if (event?.$case === "text") yield* this.#say(event.value.text);
      if (event?.$case === "call") yield* this.#call(event.value);
      if (event?.$case !== "finished") continue;
      yield* this.#stopSaying();
      const response = this.#response.toJSON(event.value);
      yield this.event(`response.${String(response["status"])}`, { response });
      return;
    }
    throw brokenOff();
  }

  /** One event in its wire form. */
  event(type: string, fields: object): string {
    return `event: ${type}\ndata: ${JSON.stringify({ ...fields, type, sequence_number: this.#number++ })}\n\n`;
  }

  *#say(delta: string): Generator<string> {
    const output_index = this.#response.length;
    if (this.#saying === undefined) {
      this.#saying = { id: newId("msg_"), text: "" };
      const { id } = this.#saying;
      yield this.event("response.output_item.added", { output_index, item: messageItem(id, "in_progress") });
      const part = textPart("");
      yield this.event("response.content_part.added", { item_id: id, output_index, content_index: 0, part });
    }
    this.#saying.text += delta;
    const item_id = this.#saying.id;
    yield this.event("response.output_text.delta", { item_id, output_index, content_index: 0, delta, logprobs: [] });
  }

  *#stopSaying(): Generator<string> {
    if (this.#saying === undefined) return;
    const { id, text } = this.#saying;
    const place = { item_id: id, output_index: this.#response.length, content_index: 0 };
    this.#saying = undefined;
    yield this.event("response.output_text.done", { ...place, text, logprobs: [] });
    yield this.event("response.content_part.done", { ...place, part: textPart(text) });
    yield* this.#done(messageItem(id, "completed", text));
  }

  *#call(call: FunctionCall): Generator<string> {
    yield* this.#stopSaying();
    const id = newId("fc_");
    const args = argumentsOf(call);
    const place = { item_id: id, output_index: this.#response.length };
    const item = callItem(id, "in_progress", call, "");
    yield this.event("response.output_item.added", { output_index: place.output_index, item });
    yield this.event("response.function_call_arguments.delta", { ...place, delta: args });
    yield this.event("response.function_call_arguments.done", { ...place, name: call.name, arguments: args });
    yield* this.#done(callItem(id, "completed", call, args));
  }

  *#done(item: ReturnType<typeof callItem>): Generator<string> {
    yield this.event("response.output_item.done", { output_index: this.#response.length, item });
    this.#response.add(item);
  }
}

function argumentsOf(call: FunctionCall): string {
  return JSON.stringify(call.arguments ?? {});
}
