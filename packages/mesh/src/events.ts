// Typed events: publish, subscribe, wait for one.
import { context, trace } from "@opentelemetry/api";
import { headers, type Msg } from "@nats-io/transport-node";
import { eventContract } from "@warren/contract";
import { type Connection, type MeshLog, tooLarge } from "./connection.ts";
import type { MessageType } from "./definition.ts";
import { header } from "./headers.ts";
import { RpcError, StatusCode } from "./status.ts";
import { decodeToken, eventSubject } from "./subject.ts";
import { contextFrom, traceparentOf } from "./telemetry.ts";

/** The code that ts-proto generates for an event. */
export type EventType<T> = Pick<MessageType<T>, "$type" | "encode" | "decode"> & { fromPartial(partial: never): T };

/** What a subscriber learns beside the event. */
export interface EventMeta {
  readonly subject: string;
  /** Which of many, where the publisher said so. */
  readonly key: string | undefined;
}

export interface SubscribeOptions {
  /** Only events of this key. */
  readonly key?: string;
  /** One of the subscribers of this name gets each event; absent: each gets all. */
  readonly queue?: string;
}

/** A subscription that lasts until it is ended. */
export interface EventSubscription {
  unsubscribe(): void;
}

/** Publishes and receives events. */
export class Events {
  readonly #connection: Connection;
  readonly #log: MeshLog;

  constructor(connection: Connection, log: MeshLog) {
    this.#connection = connection;
    this.#log = log;
  }

  /**
   * Publishes an event to whoever listens now.
   * @throws RpcError UNAVAILABLE while disconnected: nothing is dropped silently. RESOURCE_EXHAUSTED when it is too large.
   */
  publish<T>(type: EventType<T>, event: T, options: { key?: string } = {}): void {
    this.#connection.assertUp();
    const carried = headers();
    const traceparent = traceparentOf(trace.getActiveSpan());
    if (traceparent) carried.set("traceparent", traceparent);
    const subject = eventSubject(eventContract(type.$type).name, options.key);
    try {
      this.#connection.nats.publish(subject, type.encode(event).finish(), { headers: carried });
    } catch (thrown) {
      throw tooLarge(`An event ${type.$type}`, thrown) ?? thrown;
    }
  }

  /** Calls `handler` for each event. What it throws is logged, and stops nothing. */
  async subscribe<T>(
    type: EventType<T>,
    handler: (event: T, meta: EventMeta) => void | Promise<void>,
    options: SubscribeOptions = {},
  ): Promise<EventSubscription> {
    const base = eventSubject(eventContract(type.$type).name);
    const receive = (message: Msg): void => {
      const token = message.subject.slice(base.length + 1);
      const meta = { subject: message.subject, key: token ? decodeToken(token) : undefined };
      const failed = (err: unknown): void =>
        this.#log.error({ subject: message.subject, err }, "An event could not be handled");
      const within = contextFrom(header(message.headers, "traceparent"));
      void context.with(within, async () => handler(type.decode(message.data), meta)).catch(failed);
    };
    const { key, queue } = options;
    const subjects = key === undefined ? [base, `${base}.>`] : [eventSubject(eventContract(type.$type).name, key)];
    const subscriptions = subjects.map((subject) => this.#connection.subscribe(subject, receive, queue));
    await this.#connection.nats.flush();
    return { unsubscribe: () => subscriptions.forEach((each) => each.unsubscribe()) };
  }

  /**
   * The next event that `predicate` accepts.
   * @throws RpcError DEADLINE_EXCEEDED when none comes in time, CANCELLED when `signal` fires.
   */
  async waitFor<T>(
    type: EventType<T>,
    predicate: (event: T) => boolean,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const cancel = (): void => reject(new RpcError(StatusCode.CANCELLED, `Waiting for ${type.$type} was cancelled`));
    const late = (): void =>
      reject(new RpcError(StatusCode.DEADLINE_EXCEEDED, `No ${type.$type} came in ${options.timeoutMs} ms`));
    if (options.signal?.aborted) cancel();
    options.signal?.addEventListener("abort", cancel);
    const timer = setTimeout(late, options.timeoutMs);
    const subscription = await this.subscribe(type, (event) => {
      if (predicate(event)) resolve(event);
    });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", cancel);
      subscription.unsubscribe();
    }
  }
}
