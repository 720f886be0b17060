// Typed events: publish, subscribe, wait for one.
import { randomUUID } from "node:crypto";
import { context, trace } from "@opentelemetry/api";
import { headers, type Msg } from "@nats-io/transport-node";
import { eventContract } from "@warren/contract";
import type { Connection, MeshLog } from "./connection.ts";
import type { ConsumeOptions, DeliveryHandler, DeliveryMeta } from "./durable/consumer.ts";
import type { DurableEvents, DurableSubscription } from "./durable/durable-events.ts";
import { AnyEvent, type EventMeta, type EventType } from "./durable/event.ts";
import { matchesPattern, patternSubjects } from "./durable/event-names.ts";
import { header } from "./headers.ts";
import { RpcError, StatusCode } from "./status.ts";
import { eventSubject } from "./subject.ts";
import { contextFrom, traceparentOf } from "./telemetry.ts";

export interface PublishOptions {
  /** Which of many the event is about: subscribers can ask for it alone. */
  readonly key?: string;
  /** For an audited event: published again under its id within two minutes, it is stored once. Default: a new one. */
  readonly id?: string;
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

/** Room for what a dead letter says beside the event, in bytes. */
const HEADERS_ROOM = 4096;

/** Publishes and receives events. */
export class Events {
  readonly #connection: Connection;
  readonly #log: MeshLog;
  readonly #durable: DurableEvents;
  /** The publisher's name: two services that choose the same id do not mean the same event. */
  readonly #service: string;

  constructor(connection: Connection, log: MeshLog, durable: DurableEvents, service: string) {
    this.#connection = connection;
    this.#log = log;
    this.#durable = durable;
    this.#service = service;
  }

  /**
   * Publishes an event to whoever listens now. One that its contract calls audited is also stored in the audit stream,
   * and is published when it is stored; subscribers may then see it twice, where an answer of JetStream was lost.
   * @throws RpcError UNAVAILABLE while disconnected: nothing is dropped silently; of an audited event also when there is
   * no word within 10 s that it is stored. RESOURCE_EXHAUSTED when it is too large.
   */
  async publish<T>(type: EventType<T>, event: T, options: PublishOptions = {}): Promise<void> {
    this.#connection.assertUp();
    const { name, audited } = eventContract(type.$type);
    const data = type.encode(event).finish();
    if (data.length > this.#connection.maxPayload - HEADERS_ROOM)
      throw new RpcError(StatusCode.RESOURCE_EXHAUSTED, `An event ${name} of ${data.length} bytes is over the limit`, {
        reason: "TOO_LARGE",
      });
    const carried = headers();
    const traceparent = traceparentOf(trace.getActiveSpan());
    if (traceparent) carried.set("traceparent", traceparent);
    const subject = eventSubject(name, options.key);
    if (!audited) return this.#connection.nats.publish(subject, data, { headers: carried });
    const id = `${this.#service};${name};${encodeURIComponent(options.id ?? randomUUID())}`;
    await this.#durable.store({ subject, data, headers: carried, id });
  }

  /**
   * Calls `handler` for each event. What it throws is logged, and stops nothing.
   * @throws RpcError UNAVAILABLE while disconnected. A subscription that was made outlasts a loss of the connection.
   */
  async subscribe<T>(
    type: EventType<T>,
    handler: (event: T, meta: EventMeta) => void | Promise<void>,
    options: SubscribeOptions = {},
  ): Promise<EventSubscription> {
    const { name } = eventContract(type.$type);
    const { key, queue } = options;
    const subjects = key === undefined ? patternSubjects(name) : [eventSubject(name, key)];
    return this.#listen(subjects, name, (event) => handler(type.decode(event.data), metaOf(event)), queue);
  }

  /**
   * Calls `handler` for each event whose name matches: `plugin.>` stands for all that begin with `plugin.`, `*` for one
   * token. Events that the contracts of this process do not know come as well.
   */
  async subscribePattern(
    pattern: string,
    handler: (event: AnyEvent) => void | Promise<void>,
    options: Pick<SubscribeOptions, "queue"> = {},
  ): Promise<EventSubscription> {
    return this.#listen(patternSubjects(pattern), pattern, handler, options.queue);
  }

  /**
   * Calls `handler` for each stored event of a type, since the consumer was there first and across restarts; the
   * replicas of a service share them. It may come more than once. Only audited events are stored.
   */
  async consume<T>(
    type: EventType<T>,
    options: ConsumeOptions,
    handler: (event: T, meta: DeliveryMeta) => void | Promise<void>,
  ): Promise<DurableSubscription> {
    const { name } = eventContract(type.$type);
    return this.#durable.consume(name, options, (event, meta) => handler(type.decode(event.data), meta));
  }

  /** The same for each event whose name matches. */
  async consumePattern(
    pattern: string,
    options: ConsumeOptions,
    handler: DeliveryHandler,
  ): Promise<DurableSubscription> {
    return this.#durable.consume(pattern, options, handler);
  }

  /**
   * The next event that `predicate` accepts.
   * @throws RpcError DEADLINE_EXCEEDED when none comes in time, CANCELLED when `signal` fires, UNAVAILABLE while
   * disconnected.
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
    const timer = setTimeout(late, options.timeoutMs);
    options.signal?.addEventListener("abort", cancel);
    if (options.signal?.aborted) cancel();
    // Not awaited: the time runs all the same.
    const subscribed = this.subscribe(type, (event) => {
      if (predicate(event)) resolve(event);
    });
    subscribed.catch(reject);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", cancel);
      const end = (subscription: EventSubscription): void => subscription.unsubscribe();
      subscribed.then(end).catch(() => undefined);
    }
  }

  /** @param pattern the names wanted, which the subjects cannot tell from an event with a key */
  async #listen(
    subjects: readonly string[],
    pattern: string,
    handler: (event: AnyEvent) => void | Promise<void>,
    queue: string | undefined,
  ): Promise<EventSubscription> {
    this.#connection.assertUp();
    const receive = (message: Msg): void => {
      const event = new AnyEvent(message.subject, message.data);
      if (!matchesPattern(pattern, event.name)) return;
      const failed = (err: unknown): void =>
        this.#log.error({ subject: message.subject, err }, "An event could not be handled");
      const within = contextFrom(header(message.headers, "traceparent"));
      void context.with(within, async () => handler(event)).catch(failed);
    };
    const subscriptions = subjects.map((subject) => this.#connection.subscribe(subject, receive, queue));
    const unsubscribe = (): void => subscriptions.forEach((each) => each.unsubscribe());
    try {
      await this.#connection.nats.flush();
    } catch (cause) {
      unsubscribe();
      const message = `The connection was lost before ${pattern} was subscribed to`;
      throw new RpcError(StatusCode.UNAVAILABLE, message, { reason: "DISCONNECTED" }, { cause });
    }
    return { unsubscribe };
  }
}

function metaOf({ subject, key }: AnyEvent): EventMeta {
  return { subject, key };
}
