// The streams that keep events: created where they are missing, by whoever may, and never made smaller in what they take.
import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  type StreamConfig,
} from "@nats-io/jetstream";
import { state } from "../policy/policy.ts";
import type { StateDependencies } from "../state/jetstream.ts";
import { auditedSubjects } from "./event-names.ts";

/** The streams that keep events. */
export type EventStreamName = "audit" | "dead_letters";

/** What a service may do with a stream beside reading or feeding it: its policy says so. */
export type StreamRight = "own" | "create" | "none";

/** Within this time a message with the id of an earlier one is not stored again, in nanoseconds. */
const DUPLICATE_WINDOW_NS = 120 * 1_000_000_000;
const NS_PER_MS = 1_000_000;

/** A stream of events. */
export class EventStream {
  readonly name: EventStreamName;
  readonly #right: StreamRight;
  readonly #deps: StateDependencies;
  #ready: Promise<void> | undefined;

  constructor(name: EventStreamName, right: StreamRight, deps: StateDependencies) {
    this.name = name;
    this.#right = right;
    this.#deps = deps;
  }

  /** Resolves when the stream is there, as far as this service can see to that. */
  ready(): Promise<void> {
    this.#ready ??= this.#ensure().catch((error: unknown) => {
      this.#ready = undefined;
      throw error;
    });
    return this.#ready;
  }

  /** Looks again at the next {@link ready}: the server may have been replaced by an empty one. */
  forget(): void {
    this.#ready = undefined;
  }

  async #ensure(): Promise<void> {
    if (this.#right === "none") return;
    const manager = await this.#deps.js.jetstreamManager(false);
    const wanted = configOf(this.name);
    const found = (await this.#find(manager)) ?? (await this.#create(manager, wanted));
    // Only additions of subjects: replicas of an older version must not take away what newer ones publish.
    const subjects = [...new Set([...found.subjects, ...wanted.subjects])];
    const same =
      subjects.length === found.subjects.length &&
      found.max_bytes === wanted.max_bytes &&
      found.max_age === wanted.max_age;
    if (this.#right === "own" && !same) await manager.streams.update(this.name, { ...wanted, subjects });
  }

  async #find(manager: JetStreamManager): Promise<StreamConfig | undefined> {
    try {
      return (await manager.streams.info(this.name)).config;
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) return undefined;
      throw error;
    }
  }

  async #create(manager: JetStreamManager, wanted: ReturnType<typeof configOf>): Promise<StreamConfig> {
    const creation = { name: this.name, num_replicas: this.#deps.replicas, ...wanted };
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
