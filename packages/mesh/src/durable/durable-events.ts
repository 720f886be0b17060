// What one service does with the records, the streams of events: store, consume, read, and keep those it owns there.
import type { Connection, MeshLog } from "../connection.ts";
import { consumerName, deadLetterSubject } from "../policy/names.ts";
import type { ServicePolicy } from "../policy/policy.ts";
import type { StateDependencies } from "../state/jetstream.ts";
import { type ConsumeOptions, type DeliveryHandler, DurableConsumer } from "./consumer.ts";
import { assertStored } from "./event-names.ts";
import { EventStream } from "./event-stream.ts";
import { auditPage, type DeadLetter, deadLetterPage, type PageOptions, type StoredEvent } from "./records.ts";
import { type Storable, store } from "./store.ts";

/** What the durable side of events needs of the mesh. */
export interface DurableDependencies {
  /** The service's name. */
  readonly service: string;
  readonly policy: ServicePolicy;
  readonly connection: Connection;
  readonly log: MeshLog;
  /** JetStream as it is asked for the records, opened when it is first needed. */
  readonly state: () => StateDependencies;
}

/** A durable consumer that runs. */
export interface DurableSubscription {
  /** Takes no more events, and resolves when those in hand are answered for; after `graceMs` (25 s) they are given back. */
  drain(graceMs?: number): Promise<void>;
}

const DEFAULTS = {
  maxDeliver: 5,
  ackWaitMs: 30_000,
  backoffMs: [1000, 5000, 30_000],
  concurrency: 8,
} as const;
const DRAIN_GRACE_MS = 25_000;
/** How often an owner tries to have its streams there, in milliseconds. */
const RETRY_MS = 500;

export class DurableEvents {
  readonly #deps: DurableDependencies;
  readonly #consumers = new Set<DurableConsumer>();
  readonly #pending = new Set<Promise<void>>();
  readonly #forget: () => void;
  #closed = false;

  constructor(deps: DurableDependencies) {
    this.#deps = deps;
    void this.#keepOwn();
    this.#forget = deps.connection.onBack(() => void this.#keepOwn());
  }

  /** Stores an event in the audit stream. @throws RpcError UNAVAILABLE when there is no word that it is stored. */
  store(message: Storable): Promise<void> {
    const stored = store("audit", message, this.#deps.state());
    const settled = stored.then(nothing, nothing).finally(() => this.#pending.delete(settled));
    this.#pending.add(settled);
    return stored;
  }

  /**
   * Takes every stored event whose name matches, now and after any restart.
   * @throws Error when the policy does not list the consumer, or the options make no sense.
   */
  async consume(pattern: string, options: ConsumeOptions, handler: DeliveryHandler): Promise<DurableSubscription> {
    const { service, policy, log, state } = this.#deps;
    const { durable } = options;
    const spec = policy.consumes.find((each) => each.durable === durable);
    if (!spec) throw new Error(`The mesh's policy names no durable consumer ${durable} of ${service}`);
    const plan = { ...DEFAULTS, ...options };
    assertWhole("maxDeliver", plan.maxDeliver);
    assertWhole("concurrency", plan.concurrency);
    assertWhole("ackWaitMs", plan.ackWaitMs);
    const name = consumerName(service, durable);
    const deadLetters = { subject: deadLetterSubject(service, durable), consumer: name };
    assertStored(pattern);
    const consumer = await DurableConsumer.start(
      { ...plan, pattern, handler, stream: spec.stream, name, deadLetters },
      state(),
      log,
    );
    this.#consumers.add(consumer);
    return {
      drain: async (graceMs = DRAIN_GRACE_MS) => {
        await consumer.drain(graceMs);
        this.#consumers.delete(consumer);
      },
    };
  }

  /** The audit, page by page. */
  auditLog(options: PageOptions = {}): Promise<StoredEvent[]> {
    return auditPage(options, this.#deps.state());
  }

  /** What consumers could not handle, page by page. */
  deadLetters(options: PageOptions = {}): Promise<DeadLetter[]> {
    return deadLetterPage(options, this.#deps.state());
  }

  /** Ends every consumer; events still in hand after `graceMs` are given back. */
  async drain(graceMs: number): Promise<void> {
    await Promise.all([...this.#consumers].map((consumer) => consumer.drain(graceMs)));
    this.#consumers.clear();
  }

  /** Gives back what is in hand, and waits until what is being stored is stored or has failed. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#forget();
    await this.drain(0);
    await Promise.all(this.#pending);
  }

  /** At the start and whenever NATS is back: the server may have been replaced by an empty one. */
  async #keepOwn(): Promise<void> {
    const names = (["audit", "dead_letters"] as const).filter((name) => this.#deps.policy.owns.includes(name));
    for (const name of names) {
      while (!this.#closed && this.#deps.connection.up) {
        try {
          await new EventStream(name, this.#deps.state()).ensure();
          break;
        } catch (err) {
          this.#deps.log.debug({ stream: name, err }, "A stream of events is not there yet");
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
        }
      }
    }
  }
}

function nothing(): void {
  // Only that it is over counts.
}

function assertWhole(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`${name} must be a whole number from 1, not ${value}`);
}
