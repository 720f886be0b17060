// A bucket of another service, to read. Who may create a consumer may have it deliver to any subject of the account that
// keeps the bucket, so that readers create none: they hear what the owner's JetStream republishes once it is stored, and
// list the rest message by message. What was not heard is noticed by the stream's last sequence.
import type { StoredMsg, StreamInfo } from "@nats-io/jetstream";
import type { Msg, MsgHdrs } from "@nats-io/transport-node";
import { changesSubject, streamName } from "../policy/names.ts";
import type { StateSpec } from "../policy/policy.ts";
import { RpcError, StatusCode } from "../status.ts";
import type { Codec } from "./codec.ts";
import { awaitCreation, operate, type StateDependencies } from "./jetstream.ts";
import { KvCache } from "./kv-cache.ts";
import { decodeKey, encodeKey } from "./kv-key.ts";
import type { Change, Entry } from "./kv.ts";

/** Entries that are read at once when a bucket is listed. */
const READS_AT_ONCE = 64;
/** How often it is asked whether a change was missed, in milliseconds. */
const CHECK_MS = 5000;
/** How long a change that is stored may be under way, in milliseconds. */
const UNDER_WAY_MS = 1000;

/** A bucket of values of one type, kept by another service. */
export class KvView<T> {
  readonly #name: string;
  readonly #stream: string;
  readonly #ttlMs: number | undefined;
  readonly #codec: Codec<T>;
  readonly #deps: StateDependencies;

  private constructor(spec: StateSpec, codec: Codec<T>, deps: StateDependencies) {
    this.#name = spec.name;
    this.#stream = streamName(spec);
    this.#ttlMs = spec.ttlMs;
    this.#codec = codec;
    this.#deps = deps;
  }

  /**
   * Opens a bucket, waiting up to 30 s for its owner to create it.
   * @param deps with JetStream as it is asked in the owner's account.
   */
  static async open<T>(spec: StateSpec, codec: Codec<T>, deps: StateDependencies): Promise<KvView<T>> {
    const view = new KvView(spec, codec, deps);
    await awaitCreation(spec.name, () => view.#info());
    return view;
  }

  /** The value of a key. */
  get(key: string): Promise<Entry<T> | undefined> {
    return this.#operate("Reading", async () => {
      const stored = await this.#stored(this.#subject(key));
      return stored && { key, value: this.#codec.decode(stored.data), revision: stored.seq, created: stored.time };
    });
  }

  /** Every entry. One that changes meanwhile is as it was or as it is; one that cannot be read is passed over and logged. */
  async entries(): Promise<Entry<T>[]> {
    const found: Entry<T>[] = [];
    await this.#operate("Listing entries", async () => {
      for await (const { value, ...entry } of this.#list(await this.#info({ subjects: true })))
        if (value !== undefined) found.push({ ...entry, value });
    });
    return found.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /**
   * Changes from now on, each key's present value first, then `caught-up`. Ends when `signal` fires or the connection is
   * lost.
   * @throws RpcError DATA_LOSS when a change was not heard of: watch anew.
   */
  async *watch({ signal }: { signal?: AbortSignal } = {}): AsyncGenerator<Change<T> | "caught-up"> {
    const { connection } = this.#deps;
    connection.assertUp();
    const heard = connection.nats.subscribe(`${changesSubject(this.#name)}.>`);
    const stop = (): void => heard.unsubscribe();
    const forget = connection.onLost(stop);
    signal?.addEventListener("abort", stop);
    const progress = { last: 0, missed: false };
    let checking: NodeJS.Timeout | undefined;
    try {
      if (signal?.aborted) return;
      // Heard before it is listed: nothing falls between the two.
      await connection.nats.flush();
      const info = await this.#operate("Listing entries", () => this.#info({ subjects: true }));
      progress.last = info.state.last_seq;
      const listed = new Map<string, number>();
      for await (const change of this.#list(info)) {
        listed.set(change.key, change.revision);
        yield change;
      }
      yield "caught-up";
      const check = (): void => void this.#check(progress, stop);
      check();
      checking = setInterval(check, CHECK_MS);
      for await (const message of heard) {
        const change = this.#told(message);
        progress.last = Math.max(progress.last, change.revision);
        // What was listed may be newer than what was told of it meanwhile.
        if (change.revision > (listed.get(change.key) ?? 0)) yield change;
      }
      if (progress.missed)
        throw new RpcError(StatusCode.DATA_LOSS, `A change of ${this.#name} was not heard of`, { reason: "MISSED" });
    } finally {
      clearInterval(checking);
      stop();
      forget();
      signal?.removeEventListener("abort", stop);
    }
  }

  /** A copy in memory that a watch keeps fresh, also across a loss of the connection. Resolves when it is complete. */
  cached(): Promise<KvCache<T>> {
    return KvCache.open(
      { watch: (signal) => this.watch({ signal }), get: (key) => this.get(key) },
      this.#deps.connection,
      this.#ttlMs,
    );
  }

  /** Ends a watch that has not heard of what is stored. What cannot be asked is asked again the next time. */
  async #check(progress: { readonly last: number; missed: boolean }, stop: () => void): Promise<void> {
    const before = progress.last;
    const stored = await this.#info().then(
      ({ state }) => state.last_seq,
      () => undefined,
    );
    if (stored === undefined) return;
    await new Promise((resolve) => setTimeout(resolve, UNDER_WAY_MS).unref());
    // A bucket whose last change is older than what was heard is another one, in place of it.
    if (progress.last >= stored && stored >= before) return;
    progress.missed = true;
    stop();
  }

  async *#list({ state }: StreamInfo): AsyncGenerator<Change<T>> {
    const subjects = Object.keys(state.subjects ?? {});
    for (let at = 0; at < subjects.length; at += READS_AT_ONCE) {
      const some = subjects.slice(at, at + READS_AT_ONCE);
      for (const stored of await Promise.all(some.map((subject) => this.#stored(subject)))) {
        if (!stored) continue;
        const key = this.#key(stored.subject);
        yield { key, value: this.#decode(key, stored.data), revision: stored.seq, created: stored.time };
      }
    }
  }

  /** The newest message of a subject; undefined when it was deleted. */
  async #stored(subject: string): Promise<StoredMsg | undefined> {
    const { streams } = await this.#deps.js.jetstreamManager(false);
    const message = await streams.getMessage(this.#stream, { last_by_subj: subject });
    return message && !isDeletion(message.header) ? message : undefined;
  }

  #told(message: Msg): Change<T> {
    const { headers, data, subject } = message;
    const key = decodeKey(subject.slice(changesSubject(this.#name).length + 1));
    const time = headers?.get("Nats-Time-Stamp");
    return {
      key,
      value: isDeletion(headers) ? undefined : this.#decode(key, data),
      revision: Number(headers?.get("Nats-Sequence")),
      // nats-server says so since 2.10; an older one has just stored it.
      created: time ? new Date(time) : new Date(),
    };
  }

  /** A value that cannot be read is passed over and logged: one bad entry must not hide all others. */
  #decode(key: string, bytes: Uint8Array): T | undefined {
    try {
      return this.#codec.decode(bytes);
    } catch (err) {
      this.#deps.connection.log.error({ bucket: this.#name, key, err }, "An entry cannot be read");
      return undefined;
    }
  }

  async #info({ subjects = false } = {}): Promise<StreamInfo> {
    const { streams } = await this.#deps.js.jetstreamManager(false);
    return streams.info(this.#stream, subjects ? { subjects_filter: `${this.#subject()}>` } : {});
  }

  #subject(key?: string): string {
    return `$KV.${this.#name}.${key === undefined ? "" : encodeKey(key)}`;
  }

  #key(subject: string): string {
    return decodeKey(subject.slice(this.#subject().length));
  }

  #operate<R>(what: string, operation: () => Promise<R>): Promise<R> {
    return operate(this.#deps, `${what} of ${this.#name}`, operation);
  }
}

function isDeletion(headers: MsgHdrs | undefined): boolean {
  return headers?.get("KV-Operation") !== undefined && headers.get("KV-Operation") !== "";
}
