// A call that is being served, from its arrival to its answer, and all of those that are in flight.
import type { Span } from "@opentelemetry/api";
import type { Endpoint } from "./endpoint.ts";
import type { Invocation } from "./invocation.ts";
import type { ServedSubject } from "./served-subject.ts";
import type { ServedStream } from "./stream/served-stream.ts";

/** One call. */
export class ServedCall {
  readonly endpoint: Endpoint;
  readonly by: ServedSubject;
  /** Where its answer goes, and its name: who asks for a call or cancels it names its inbox. */
  readonly reply: string;
  readonly started: number;
  readonly span: Span;
  /** Undefined until its headers were read. */
  invocation: Invocation | undefined = undefined;
  /** Of a call that streams, once it runs. */
  stream: ServedStream | undefined = undefined;
  /** It has a place among those that run at once. */
  admitted = false;
  /** Its one answer has gone: nothing else may. */
  answered = false;
  /** For {@link CallsInFlight}. */
  before: ServedCall | undefined = undefined;
  after: ServedCall | undefined = undefined;

  constructor(endpoint: Endpoint, by: ServedSubject, reply: string, started: number, span: Span) {
    this.endpoint = endpoint;
    this.by = by;
    this.reply = reply;
    this.started = started;
    this.span = span;
  }
}

/** The calls in flight: a list that a call joins and leaves for next to nothing. Hardly any is ever asked for. */
export class CallsInFlight {
  #last: ServedCall | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(call: ServedCall): void {
    call.before = this.#last;
    if (this.#last) this.#last.after = call;
    this.#last = call;
    this.#size += 1;
  }

  remove(call: ServedCall): void {
    const { before, after } = call;
    if (before) before.after = after;
    if (after) after.before = before;
    else this.#last = before;
    call.before = undefined;
    call.after = undefined;
    this.#size -= 1;
  }

  /** The call whose answer is awaited at `reply`. */
  find(reply: string): ServedCall | undefined {
    let call = this.#last;
    while (call && call.reply !== reply) call = call.before;
    return call;
  }

  /** All of them, as of now. */
  all(): ServedCall[] {
    const calls: ServedCall[] = [];
    for (let call = this.#last; call; call = call.before) calls.push(call);
    return calls;
  }
}
