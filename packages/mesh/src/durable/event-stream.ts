// The streams that keep events, and the places of their durable consumers: their owner creates them where they are missing,
// and never makes a stream smaller in what it takes. Who only feeds a stream waits until it is there.
import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  type StreamConfig,
} from "@nats-io/jetstream";
import { consumerName } from "../policy/names.ts";
import { type ServicePolicy, services, state } from "../policy/policy.ts";
import type { StateDependencies } from "../state/jetstream.ts";
import { ACK_WAIT_MS } from "./delivery.ts";
import { auditedSubjects } from "./event-names.ts";

/** The streams that keep events. */
export type EventStreamName = "audit" | "dead_letters";

/** Within this time a message with the id of an earlier one is not stored again, in nanoseconds. */
const DUPLICATE_WINDOW_NS = 120 * 1_000_000_000;
const NS_PER_MS = 1_000_000;

/** A stream of events, as its owner keeps it. */
export class EventStream {
  readonly #name: EventStreamName;
  readonly #deps: StateDependencies;

  constructor(name: EventStreamName, deps: StateDependencies) {
    this.#name = name;
    this.#deps = deps;
  }

  /** Sees to it that the stream and its consumers are there, and as this version wants them. */
  async ensure(): Promise<void> {
    const manager = await this.#deps.js.jetstreamManager(false);
    await this.#ensureStream(manager);
    for (const consumer of consumersOf(this.#name)) await ensureConsumer(manager, this.#name, consumer);
  }

  async #ensureStream(manager: JetStreamManager): Promise<void> {
    const wanted = configOf(this.#name);
    const found = (await this.#find(manager)) ?? (await this.#create(manager, wanted));
    // Only additions of subjects: replicas of an older version must not take away what newer ones publish.
    const subjects = [...new Set([...found.subjects, ...wanted.subjects])];
    const same =
      subjects.length === found.subjects.length &&
      found.max_bytes === wanted.max_bytes &&
      found.max_age === wanted.max_age;
    if (!same) await manager.streams.update(this.#name, { ...wanted, subjects });
  }

  async #find(manager: JetStreamManager): Promise<StreamConfig | undefined> {
    try {
      return (await manager.streams.info(this.#name)).config;
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) return undefined;
      throw error;
    }
  }

  async #create(manager: JetStreamManager, wanted: ReturnType<typeof configOf>): Promise<StreamConfig> {
    const creation = { name: this.#name, num_replicas: this.#deps.replicas, ...wanted };
    try {
      return (await manager.streams.add(creation)).config;
    } catch (error) {
      // Another version of us may have been faster.
      const found = await this.#find(manager);
      if (!found) throw error;
      return found;
    }
  }
}

/** The durable consumers that the policy gives to a stream, by their names on the wire. */
function consumersOf(stream: EventStreamName): string[] {
  return Object.entries<ServicePolicy>(services).flatMap(([service, { consumes }]) =>
    consumes.filter((each) => each.stream === stream).map(({ durable }) => consumerName(service, durable)),
  );
}

async function ensureConsumer({ consumers }: JetStreamManager, stream: string, name: string): Promise<void> {
  const settings = {
    ack_wait: ACK_WAIT_MS * NS_PER_MS,
    // Counted by who consumes: the server only stops delivering, and would leave the event behind with nobody told.
    max_deliver: -1,
    // Events that wait for their next delivery must not keep others back; what is in hand is bounded by the pulls.
    max_ack_pending: -1,
  };
  const found = await consumers.info(stream, name).catch((error: unknown) => {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.ConsumerNotFound) return undefined;
    throw error;
  });
  if (!found)
    await consumers.add(stream, {
      durable_name: name,
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      ...settings,
    });
  else if (found.config.ack_wait !== settings.ack_wait) await consumers.update(stream, name, settings);
}

function configOf(name: EventStreamName) {
  const { maxBytes, ttlMs } = state[name];
  return {
    subjects: name === "audit" ? [...auditedSubjects()] : [`${name}.>`],
    max_bytes: maxBytes,
    max_age: ttlMs * NS_PER_MS,
    duplicate_window: DUPLICATE_WINDOW_NS,
    discard: DiscardPolicy.Old,
    // Messages leave by age or size only. Once set, no update takes these back.
    deny_delete: true,
    deny_purge: true,
  };
}
