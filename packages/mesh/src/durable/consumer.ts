// A durable consumer: replicas of a service share a place in a stream of events. What fails comes again, later and
// later; what fails too often becomes a dead letter; meanwhile the others go on.
import { context } from "@opentelemetry/api";
import type { Msg } from "@nats-io/transport-node";
import type { MeshLog } from "../connection.ts";
import { awaitCreation, operate, type StateDependencies } from "../state/jetstream.ts";
import { RpcError, StatusCode, statusName } from "../status.ts";
import { contextFrom } from "../telemetry.ts";
import { bury, type DeadLetterBox } from "./dead-letters.ts";
import { ACK_WAIT_MS, Delivery } from "./delivery.ts";
import { AnyEvent, type EventMeta } from "./event.ts";
import { matchesPattern } from "./event-names.ts";
import { pull } from "./pull.ts";

/** How a durable consumer works. */
export interface ConsumeOptions {
  /** Its name within the service; the mesh's policy must list it. */
  readonly durable: string;
  /** Deliveries of one event before it becomes a dead letter. Default 5. One that a crash or a drain cut short counts. */
  readonly maxDeliver?: number;
  /** How long a handler may take, in milliseconds; then its signal fires and the event comes again. Default 30 s. */
  readonly ackWaitMs?: number;
  /** Milliseconds before the second delivery, the third and so on; the last holds for all further ones. Default 1 s, 5 s, 30 s. */
  readonly backoffMs?: readonly number[];
  /** Events that this replica handles at once. Default 8. Only 1, on one replica, keeps their order. */
  readonly concurrency?: number;
}

/** What the handler of a durable consumer learns beside the event. */
export interface DeliveryMeta extends EventMeta {
  /** How often the event was delivered, this time counted. */
  readonly deliveries: number;
  /** The event's place in its stream: the same at each delivery, so that work can be done once. */
  readonly sequence: number;
  readonly storedAt: Date;
  /** Fires when the handler's time is over, or the service stops without waiting any longer. */
  readonly signal: AbortSignal;
}

/** Handles an event: done when it returns; it comes again when it throws. */
export type DeliveryHandler = (event: AnyEvent, meta: DeliveryMeta) => void | Promise<void>;

/** What a consumer is made of. */
export interface ConsumerPlan extends Required<ConsumeOptions> {
  /** Names of the events it takes. */
  readonly pattern: string;
  readonly handler: DeliveryHandler;
  readonly stream: string;
  /** Its name on the wire. */
  readonly name: string;
  readonly deadLetters: DeadLetterBox;
}

/** How often the server is told that an event is being handled, in milliseconds: one word may be lost. */
const WORKING_MS = ACK_WAIT_MS / 3;
/** How long to wait before trying a consumer again that could not be reached, in milliseconds. */
const RETRY_MS = 250;

export class DurableConsumer {
  readonly #plan: ConsumerPlan;
  readonly #deps: StateDependencies;
  readonly #log: MeshLog;
  readonly #stop = new AbortController();
  readonly #cut = new AbortController();
  #workers: readonly Promise<void>[] = [];
  #recovering: Promise<void> | undefined;

  private constructor(plan: ConsumerPlan, deps: StateDependencies, log: MeshLog) {
    this.#plan = plan;
    this.#deps = deps;
    this.#log = log;
  }

  /** Starts a consumer, waiting up to 30 s for the owner of its stream to make its place there. */
  static async start(plan: ConsumerPlan, deps: StateDependencies, log: MeshLog): Promise<DurableConsumer> {
    const consumer = new DurableConsumer(plan, deps, log);
    await awaitCreation(plan.stream, () => consumer.#find());
    consumer.#workers = Array.from({ length: plan.concurrency }, () => consumer.#work());
    return consumer;
  }

  /** Takes no more events, and resolves when those in hand are answered for; after `graceMs` they are given back. */
  async drain(graceMs: number): Promise<void> {
    this.#stop.abort();
    const cut = setTimeout(() => this.#cut.abort(), graceMs);
    await Promise.all(this.#workers);
    clearTimeout(cut);
  }

  async #work(): Promise<void> {
    const { stream, name } = this.#plan;
    while (!this.#stop.signal.aborted) {
      try {
        const pulled = await pull(this.#deps.connection, `${stream}.${name}`, this.#stop.signal);
        if (pulled === "unavailable") await this.#recover();
        else if (pulled !== "nothing") await this.#deliver(pulled);
      } catch (err) {
        this.#log.error({ consumer: name, err }, "A durable consumer stumbled");
        await pause(RETRY_MS, this.#stop.signal);
      }
    }
  }

  async #deliver(message: Msg): Promise<void> {
    const { pattern, maxDeliver, name } = this.#plan;
    const delivery = new Delivery(message, this.#deps.connection);
    const event = new AnyEvent(message.subject, message.data);
    // Not a filter of the server's: a newer version of a service that takes other events could not change it everywhere.
    if (!matchesPattern(pattern, event.name)) return delivery.done();
    // Who got it the last time is gone without a word: an event that kills its handler must not do so for ever.
    if (delivery.count > maxDeliver) return this.#bury(delivery, StatusCode.DEADLINE_EXCEEDED);
    try {
      await this.#handle(event, delivery);
      delivery.done();
    } catch (err) {
      if (this.#cut.signal.aborted) return delivery.again(0);
      const { count, sequence } = delivery;
      const failed = { event: event.name, sequence, consumer: name, deliveries: count, err };
      this.#log.warn(failed, "An event could not be handled");
      if (count < maxDeliver) return delivery.again(this.#backoff(count));
      await this.#bury(delivery, err instanceof RpcError ? err.code : StatusCode.INTERNAL);
    }
  }

  async #handle(event: AnyEvent, delivery: Delivery): Promise<void> {
    const { ackWaitMs, handler } = this.#plan;
    if (event.typeName === undefined)
      throw new RpcError(StatusCode.UNIMPLEMENTED, `This version's contracts do not know the event ${event.name}`);
    const { count, sequence, storedAt } = delivery;
    const timeUp = new AbortController();
    const signal = AbortSignal.any([timeUp.signal, this.#cut.signal]);
    const meta = { subject: event.subject, key: event.key, deliveries: count, sequence, storedAt, signal };
    const timer = setTimeout(() => timeUp.abort(), ackWaitMs);
    const working = setInterval(() => delivery.working(), WORKING_MS);
    const within = contextFrom(delivery.traceparent);
    try {
      // A handler that does not heed its signal is left behind: others wait for the place.
      await Promise.race([context.with(within, async () => handler(event, meta)), rejection(signal, ackWaitMs)]);
    } finally {
      clearTimeout(timer);
      clearInterval(working);
    }
  }

  async #bury(delivery: Delivery, code: StatusCode): Promise<void> {
    const { deadLetters, backoffMs } = this.#plan;
    const { sequence, count } = delivery;
    const buried = { sequence, consumer: deadLetters.consumer, deliveries: count, status: statusName(code) };
    try {
      await bury(delivery, statusName(code), deadLetters, this.#deps);
      delivery.giveUp();
      this.#log.error(buried, "An event became a dead letter");
    } catch (err) {
      this.#log.error({ ...buried, err }, "A dead letter could not be kept: the event stays where it is");
      delivery.again(backoffMs.at(-1) ?? RETRY_MS);
    }
  }

  #backoff(count: number): number {
    const { backoffMs } = this.#plan;
    return backoffMs[Math.min(count, backoffMs.length) - 1] ?? 0;
  }

  /** One for all workers: waits a moment, and says so when there is no place to take events from. */
  #recover(): Promise<void> {
    this.#recovering ??= (async () => {
      await pause(RETRY_MS, this.#stop.signal);
      if (this.#deps.connection.up && !this.#stop.signal.aborted)
        await this.#find().catch((err: unknown) =>
          this.#log.debug({ consumer: this.#plan.name, err }, "A durable consumer cannot be reached"),
        );
      this.#recovering = undefined;
    })();
    return this.#recovering;
  }

  #find(): Promise<unknown> {
    const { stream, name } = this.#plan;
    return operate(this.#deps, `Opening the consumer ${name}`, async () => {
      const { consumers } = await this.#deps.js.jetstreamManager(false);
      return consumers.info(stream, name);
    });
  }
}

function rejection(signal: AbortSignal, ackWaitMs: number): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  const late = (): void =>
    reject(new RpcError(StatusCode.DEADLINE_EXCEEDED, `The event was not handled in ${ackWaitMs} ms`));
  if (signal.aborted) late();
  else signal.addEventListener("abort", late, { once: true });
  return promise;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
