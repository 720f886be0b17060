// Events for clients: one subscription of the gateway for all of them, told on to those who may see each.
import { type AnyEvent, type EventSubscription, matchesPattern, type Mesh, RpcError, StatusCode } from "@warren/mesh";
import { Event, StreamEventsRequest } from "@warren/proto/warren/gateway/v1/gateway";
import type { EdgeCallOptions } from "../edge/backend.ts";
import { type Identity, Unauthenticated } from "../identity/identity.ts";
import { Feed } from "./feed.ts";
import { audienceOf, visibleFamilies } from "./visibility.ts";

export interface HubDependencies {
  readonly mesh: Pick<Mesh, "subscribePattern" | "onReconnect">;
  /** Whether a token that was good when a stream began still is. */
  readonly inForce: (identity: Identity) => boolean;
}

interface Reader {
  readonly feed: Feed;
  readonly identity: Identity;
  readonly wants: (event: AnyEvent) => boolean;
}

/** How often the tokens of readers are looked at, in milliseconds: a revoked one is out within a second. */
const LOOK_EVERY_MS = 500;
/** Readers at once: each costs memory for what it has not read. */
const MOST_READERS = 10_000;

/** The first of every stream: who has seen it knows from when on it is told. */
const STARTED = Event.encode({ name: "stream.started", key: "", payload: undefined }).finish();

/** The method `warren.gateway.v1.EventService/StreamEvents`. */
export class EventHub {
  readonly #deps: HubDependencies;
  readonly #readers = new Set<Reader>();
  readonly #forget: () => void;
  #subscribed: Promise<EventSubscription[]> | undefined;
  #look: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(deps: HubDependencies) {
    this.#deps = deps;
    this.#forget = deps.mesh.onReconnect(() =>
      this.#endAll(unavailable("NATS was away: events may be missing, begin again", "EVENTS_LOST")),
    );
  }

  /** The events that a caller may see, from now on. */
  async *stream(request: Uint8Array, { identity, signal }: EdgeCallOptions): AsyncGenerator<Uint8Array> {
    if (identity === undefined) throw new Unauthenticated();
    if (this.#stopped) throw stopping();
    if (this.#readers.size >= MOST_READERS)
      throw new RpcError(StatusCode.RESOURCE_EXHAUSTED, "Too many streams of events are open", { retryAfterMs: 5_000 });
    const { pattern, key } = StreamEventsRequest.decode(request);
    const wants = (event: AnyEvent): boolean =>
      (pattern === "" || matchesPattern(pattern, event.name)) && (key === "" || event.key === key);
    const reader: Reader = { identity, wants, feed: new Feed(() => this.#readers.delete(reader)) };
    const leave = (): void => void reader.feed.return();
    this.#readers.add(reader);
    signal?.addEventListener("abort", leave);
    try {
      await this.#listen();
      yield STARTED;
      yield* reader.feed;
    } finally {
      signal?.removeEventListener("abort", leave);
      leave();
    }
  }

  /** How many streams are open. */
  get readers(): number {
    return this.#readers.size;
  }

  /** Ends every stream, so that its reader goes on at another gateway. */
  stop(): void {
    this.#stopped = true;
    this.#endAll(stopping());
  }

  /** Lets go of the mesh. */
  close(): void {
    this.stop();
    this.#forget();
    clearInterval(this.#look);
    void this.#subscribed?.then((all) => all.forEach((each) => each.unsubscribe())).catch(() => undefined);
  }

  /** Made for the first reader, and kept: events are few beside calls. */
  async #listen(): Promise<void> {
    this.#look ??= setInterval(() => this.#lookAtTokens(), LOOK_EVERY_MS).unref();
    const families = visibleFamilies.map((family) => `${family}.>`);
    this.#subscribed ??= Promise.all(
      families.map((pattern) => this.#deps.mesh.subscribePattern(pattern, (event) => this.#tell(event))),
    );
    try {
      await this.#subscribed;
    } catch (error) {
      this.#subscribed = undefined;
      throw error;
    }
  }

  #tell(event: AnyEvent): void {
    if (this.#readers.size === 0) return;
    const maySee = audienceOf(event);
    let message: Uint8Array | undefined;
    for (const { feed, identity, wants } of this.#readers)
      if (wants(event) && maySee(identity)) feed.push((message ??= encode(event)));
  }

  #lookAtTokens(): void {
    for (const { feed, identity } of this.#readers)
      if (!this.#deps.inForce(identity))
        feed.fail(new RpcError(StatusCode.UNAUTHENTICATED, "The token has ended", { reason: "TOKEN_ENDED" }));
  }

  #endAll(error: RpcError): void {
    for (const { feed } of [...this.#readers]) feed.fail(error);
  }
}

/** The payload stays as it was sent, under its type's name. */
function encode({ name, key = "", typeName, data }: AnyEvent): Uint8Array {
  const payload = { typeUrl: `type.googleapis.com/${typeName}`, value: data };
  return Event.encode({ name, key, payload }).finish();
}

function unavailable(message: string, reason: string): RpcError {
  return new RpcError(StatusCode.UNAVAILABLE, message, { reason, retryAfterMs: 1_000 });
}

function stopping(): RpcError {
  return unavailable("The gateway is stopping", "STOPPING");
}
