// Keys and values with compare-and-set and watch, over a JetStream bucket.
// KV gives no read-your-writes through followers: direct gets are off, and one-time use, leases and ownership are to be
// decided by the success of a create or update, never by a read.
import { DeliverPolicy, type Republish } from "@nats-io/jetstream";
import { type KV, Kvm, type KvEntry } from "@nats-io/kv";
import { changesSubject } from "../policy/names.ts";
import type { StateSpec } from "../policy/policy.ts";
import { RpcError, StatusCode } from "../status.ts";
import type { Codec } from "./codec.ts";
import { awaitCreation, isConflict, isOlder, operate, type StateDependencies, untilHeard } from "./jetstream.ts";
import { KvCache } from "./kv-cache.ts";
import { decodeKey, encodeKey } from "./kv-key.ts";
import { readMessages } from "./read-messages.ts";

/** The version of nats-server since which a stream's `republish` can be changed. */
const REPUBLISH_CHANGES_SINCE = [2, 10] as const;

/** A value and where it stands. */
export interface Entry<T> {
  readonly key: string;
  readonly value: T;
  /** Pass it to update, so that nobody's change is lost. */
  readonly revision: number;
  readonly created: Date;
}

/** A change that a watch tells. */
export interface Change<T> {
  readonly key: string;
  /** Undefined: deleted. */
  readonly value: T | undefined;
  readonly revision: number;
  /** When the change was stored. */
  readonly created: Date;
}

/** A bucket of values of one type. Keys are any text; dots part them into tokens, by which prefixes select. */
export class Kv<T> {
  readonly #bucket: KV;
  readonly #name: string;
  readonly #codec: Codec<T>;
  readonly #deps: StateDependencies;
  readonly #ttlMs: number | undefined;

  private constructor(bucket: KV, spec: StateSpec, codec: Codec<T>, deps: StateDependencies) {
    this.#bucket = bucket;
    this.#name = spec.name;
    this.#ttlMs = spec.ttlMs;
    this.#codec = codec;
    this.#deps = deps;
  }

  /**
   * Opens a bucket, creating it where it is missing.
   * @param told whether other services read it, and are told of its changes; see {@link KvView}.
   */
  static async open<T>(spec: StateSpec, told: boolean, codec: Codec<T>, deps: StateDependencies): Promise<Kv<T>> {
    const manager = new Kvm(deps.js);
    const republish = { src: `$KV.${spec.name}.>`, dest: `${changesSubject(spec.name)}.>` };
    const options = {
      history: 1,
      replicas: deps.replicas,
      max_bytes: spec.maxBytes,
      allow_direct: false,
      storage: "file" as const,
      ...(spec.ttlMs ? { ttl: spec.ttlMs } : {}),
      ...(told ? { republish } : {}),
    };
    // JetStream takes a moment to be ready after a start.
    const bucket = await awaitCreation(spec.name, async () => {
      const opened = await manager.create(spec.name, options);
      const { republish: found } = (await opened.status()).streamInfo.config;
      if (told && found?.dest !== republish.dest) await tellReaders(spec.name, republish, deps);
      return opened;
    });
    return new Kv(bucket, spec, codec, deps);
  }

  /** The value of a key. */
  async get(key: string): Promise<Entry<T> | undefined> {
    const entry = await this.#operate("Reading", () => this.#bucket.get(encodeKey(key)));
    return entry && entry.operation === "PUT" ? this.#entry(entry) : undefined;
  }

  /**
   * Sets a key that has no value.
   * @returns its revision
   * @throws RpcError ALREADY_EXISTS when it has one.
   */
  async create(key: string, value: T): Promise<number> {
    try {
      return await this.#write("Creating an entry", () =>
        this.#bucket.create(encodeKey(key), this.#codec.encode(value)),
      );
    } catch (cause) {
      if (!(cause instanceof RpcError) || cause.code !== StatusCode.ABORTED) throw cause;
      throw new RpcError(
        StatusCode.ALREADY_EXISTS,
        `The entry is already in ${this.#name}`,
        { reason: "EXISTS" },
        { cause },
      );
    }
  }

  /**
   * Sets a key if `revision` is still its newest.
   * @returns its new revision
   * @throws RpcError ABORTED when it is not.
   */
  update(key: string, value: T, revision: number): Promise<number> {
    return this.#write("Updating an entry", () =>
      this.#bucket.update(encodeKey(key), this.#codec.encode(value), revision),
    );
  }

  /** Sets a key, whatever it held. */
  put(key: string, value: T): Promise<number> {
    return this.#write("Writing an entry", () => this.#bucket.put(encodeKey(key), this.#codec.encode(value)));
  }

  /**
   * Removes a key and its value.
   * @throws RpcError ABORTED when `revision` is given and no longer its newest.
   */
  delete(key: string, revision?: number): Promise<void> {
    const options = revision === undefined ? {} : { previousSeq: revision };
    return this.#write("Deleting an entry", () => this.#bucket.purge(encodeKey(key), options));
  }

  /** Every key, or those whose first tokens are `prefix`. */
  async keys(prefix?: string): Promise<string[]> {
    return (await this.entries(prefix)).map((entry) => entry.key);
  }

  /** Every entry, or those whose first tokens are `prefix`. One that changes meanwhile is as it was or as it is. */
  async entries(prefix?: string): Promise<Entry<T>[]> {
    const found = new Map<string, Entry<T>>();
    await this.#operate("Listing entries", async () => {
      const present = await this.#subjects(prefix);
      if (present.length === 0) return;
      const start = `$KV.${this.#name}.`;
      const subjects = start + filter(prefix);
      const messages = await readMessages(this.#deps, `KV_${this.#name}`, subjects, DeliverPolicy.LastPerSubject);
      const told = new Set<string>();
      for (const message of messages) {
        const key = message.subject.slice(start.length);
        const { seq: revision, time: created } = message;
        told.add(key);
        // In the order of revisions: a key that was overwritten meanwhile comes again.
        if (message.headers?.get("KV-Operation")) found.delete(key);
        else found.set(key, { key: decodeKey(key), value: this.#codec.decode(message.data), revision, created });
      }
      // One that was overwritten while the reading began may come too late.
      for (const key of present) {
        const entry = told.has(key) ? undefined : await this.#bucket.get(key);
        if (entry?.operation === "PUT") found.set(key, this.#entry(entry));
      }
    });
    return [...found.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Changes from now on, each key's present value first, then `caught-up`. Ends when `signal` fires or the connection is lost. */
  async *watch(options: { prefix?: string; signal?: AbortSignal } = {}): AsyncGenerator<Change<T> | "caught-up"> {
    const { connection } = this.#deps;
    connection.assertUp();
    const watch = await this.#bucket.watch({ key: filter(options.prefix) });
    const stop = (): void => {
      watch.stop();
    };
    const forget = connection.onLost(stop);
    options.signal?.addEventListener("abort", stop);
    try {
      if (options.signal?.aborted) return;
      let caughtUp = await this.#isEmpty(options.prefix);
      if (caughtUp) yield "caught-up";
      for await (const entry of watch) {
        const value = entry.operation === "PUT" ? this.#decode(entry) : undefined;
        yield { key: decodeKey(entry.key), value, revision: entry.revision, created: entry.created };
        if (caughtUp || entry.delta !== 0) continue;
        caughtUp = true;
        yield "caught-up";
      }
    } finally {
      stop();
      forget();
      options.signal?.removeEventListener("abort", stop);
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

  async #isEmpty(prefix?: string): Promise<boolean> {
    return (await this.#subjects(prefix)).length === 0;
  }

  /** The keys, as they stand in subjects, that hold a value or the mark of a deletion. */
  async #subjects(prefix?: string): Promise<string[]> {
    const { streams } = await this.#deps.js.jetstreamManager();
    const start = `$KV.${this.#name}.`;
    const info = await streams.info(`KV_${this.#name}`, { subjects_filter: start + filter(prefix) });
    return Object.keys(info.state.subjects ?? {}).map((subject) => subject.slice(start.length));
  }

  /** A value that cannot be read is passed over and logged: one bad entry must not hide all others. */
  #decode(entry: KvEntry): T | undefined {
    try {
      return this.#codec.decode(entry.value);
    } catch (err) {
      this.#deps.connection.log.error({ bucket: this.#name, key: entry.key, err }, "An entry cannot be read");
      return undefined;
    }
  }

  #entry(entry: KvEntry): Entry<T> {
    return {
      key: decodeKey(entry.key),
      value: this.#codec.decode(entry.value),
      revision: entry.revision,
      created: entry.created,
    };
  }

  #write<R>(what: string, write: () => Promise<R>): Promise<R> {
    return this.#operate(what, () => untilHeard(write));
  }

  #operate<R>(what: string, operation: () => Promise<R>): Promise<R> {
    return operate(this.#deps, `${what} of ${this.#name}`, operation);
  }
}

/** Has a bucket of an earlier version tell its readers of changes. */
async function tellReaders(bucket: string, republish: Republish, { js, connection }: StateDependencies): Promise<void> {
  const { streams } = await js.jetstreamManager();
  await streams.update(`KV_${bucket}`, { republish }).catch((err: unknown) => {
    if (!isOlder(connection.nats.info?.version ?? "", REPUBLISH_CHANGES_SINCE)) throw err;
    connection.log.warn(
      { bucket, err },
      "Readers of this bucket hear of changes some seconds late: use nats-server 2.10 or newer",
    );
  });
}

/** Whether an error says that another writer came first. */
export function lostRace(error: unknown): boolean {
  const codes: readonly unknown[] = [StatusCode.ABORTED, StatusCode.ALREADY_EXISTS];
  return isConflict(error) || (error instanceof RpcError && codes.includes(error.code));
}

function filter(prefix: string | undefined): string {
  return prefix === undefined || prefix === "" ? ">" : `${encodeKey(prefix)}.>`;
}
