// One delivery of a stored event to a consumer, and the answers to it.
// Subjects and answers: https://docs.nats.io/reference/reference-protocols/nats_api_reference
import type { Msg } from "@nats-io/transport-node";
import type { Connection } from "../connection.ts";
import { header, headersOf } from "../headers.ts";

/**
 * How long the server waits for a word on what it delivered, in milliseconds; then it delivers again. Short, so that what a
 * process had in hand when it died comes to another soon: whoever works on goes on saying so.
 */
export const ACK_WAIT_MS = 5000;
const NS_PER_MS = 1_000_000;
/** `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<…>.<time>.<pending>`; with domain and account hash there are more. */
const SHORT_FORM = 9;
const SHORT_STREAM_AT = 2;
const LONG_STREAM_AT = 4;

/** A stored event as it was delivered. */
export class Delivery {
  readonly message: Msg;
  readonly stream: string;
  /** Its place in the stream. */
  readonly sequence: number;
  /** How often it was delivered, this time counted. */
  readonly count: number;
  readonly storedAt: Date;
  readonly #connection: Connection;

  constructor(message: Msg, connection: Connection) {
    const tokens = (message.reply ?? "").split(".");
    const from = tokens.length === SHORT_FORM ? SHORT_STREAM_AT : LONG_STREAM_AT;
    const [stream = "", , count, sequence, , nanoseconds] = tokens.slice(from);
    this.message = message;
    this.stream = stream;
    this.count = Number(count);
    this.sequence = Number(sequence);
    this.storedAt = new Date(Number(nanoseconds) / NS_PER_MS);
    this.#connection = connection;
  }

  /** The trace that the event belongs to; undefined when its headers cannot be read. */
  get traceparent(): string | undefined {
    try {
      return header(headersOf(this.message), "traceparent");
    } catch {
      return undefined;
    }
  }

  /** It is being handled: the server waits on. */
  working(): void {
    this.#answer("+WPI");
  }

  /** It is handled. */
  done(): void {
    this.#answer("+ACK");
  }

  /** It is to be delivered again, after a while. */
  again(afterMs: number): void {
    this.#answer(afterMs > 0 ? `-NAK ${JSON.stringify({ delay: Math.ceil(afterMs) * NS_PER_MS })}` : "-NAK");
  }

  /** It is not to be delivered again. */
  giveUp(): void {
    this.#answer("+TERM");
  }

  /** While NATS is away nothing is said: without an answer the server delivers again. */
  #answer(text: string): void {
    if (this.#connection.up && this.message.reply) this.#connection.nats.publish(this.message.reply, text);
  }
}
