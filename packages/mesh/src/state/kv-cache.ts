// A watch-fed copy of a bucket: reads cost a map look-up.
import type { Connection } from "../connection.ts";
import type { Change } from "./kv.ts";

const RETRY_MS = 100;
/** How often within an entry's life its end is looked for. */
const EXPIRY_CHECKS = 10;

/** The bucket behind a cache. */
interface Source<T> {
  watch(signal: AbortSignal): AsyncIterable<Change<T> | "caught-up">;
  /** Reads one key from the leader. */
  get(key: string): Promise<{ readonly value: T; readonly revision: number; readonly created: Date } | undefined>;
}

/** A bucket's values, in memory. While NATS is away it holds what it knew. */
export class KvCache<T> {
  readonly #source: Source<T>;
  readonly #connection: Connection;
  readonly #ttlMs: number | undefined;
  readonly #values = new Map<string, { value: T; revision: number; storedAt: number }>();
  readonly #listeners = new Set<(change: Change<T>) => void>();
  readonly #closed = new AbortController();
  #expiring: NodeJS.Timeout | undefined;
  /** How far this machine's clock is ahead of NATS', at most, in milliseconds. */
  #ahead = Number.POSITIVE_INFINITY;

  private constructor(source: Source<T>, connection: Connection, ttlMs: number | undefined) {
    this.#source = source;
    this.#connection = connection;
    this.#ttlMs = ttlMs;
    // JetStream tells nobody that an entry's time is over.
    if (ttlMs) this.#expiring = setInterval(() => this.#expire(), ttlMs / EXPIRY_CHECKS).unref();
  }

  /** Opens a cache; resolves when it holds all that the bucket held. */
  static async open<T>(source: Source<T>, connection: Connection, ttlMs?: number): Promise<KvCache<T>> {
    const cache = new KvCache(source, connection, ttlMs);
    await new Promise<void>((complete) => void cache.#follow(complete));
    return cache;
  }

  get(key: string): T | undefined {
    return this.#values.get(key)?.value;
  }

  *entries(): Generator<[string, T]> {
    for (const [key, { value }] of this.#values) yield [key, value];
  }

  get size(): number {
    return this.#values.size;
  }

  /** Calls back at each change, until the returned function is called. */
  onChange(listener: (change: Change<T>) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Ends the watch. */
  close(): void {
    this.#closed.abort();
    clearInterval(this.#expiring);
  }

  async #follow(complete: () => void): Promise<void> {
    while (!this.#closed.signal.aborted) {
      if (this.#connection.up)
        await this.#once(complete).catch((err: unknown) =>
          this.#connection.log.warn({ err }, "A watch of the mesh's state ended; starting it again"),
        );
      if (!this.#closed.signal.aborted) await this.#pause();
    }
  }

  /** Watches until the connection is lost. What was deleted while nobody watched is noticed once the rest was seen. */
  async #once(complete: () => void): Promise<void> {
    const seen = new Set<string>();
    let caughtUp = false;
    for await (const change of this.#source.watch(this.#closed.signal)) {
      if (change === "caught-up") {
        await this.#removeUnseen(seen);
        caughtUp = true;
        seen.clear();
        complete();
        continue;
      }
      if (!caughtUp) seen.add(change.key);
      this.#apply(change);
    }
  }

  /** A key that was overwritten while the watch began is told of later: only what is really gone is removed. */
  async #removeUnseen(seen: ReadonlySet<string>): Promise<void> {
    for (const [key, { revision }] of this.#values) {
      if (seen.has(key)) continue;
      const present = await this.#source.get(key);
      if (present) this.#apply({ key, ...present });
      else this.#remove(key, revision);
    }
  }

  #apply(change: Change<T>): void {
    const known = this.#values.get(change.key);
    // A deletion that was noticed, not told, has the revision of what it deletes.
    if (known && change.revision < known.revision + (change.value === undefined ? 0 : 1)) return;
    if (!known && change.value === undefined) return;
    const { key, value, revision } = change;
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, { value, revision, storedAt: this.#localTime(change.created) });
    for (const listener of this.#listeners) listener(change);
  }

  /** When an entry was stored, by this machine's clock: the newest one that was seen was stored no later than now. */
  #localTime(created: Date): number {
    this.#ahead = Math.min(this.#ahead, Date.now() - created.getTime());
    return created.getTime() + this.#ahead;
  }

  #remove(key: string, revision: number): void {
    this.#apply({ key, value: undefined, revision, created: new Date() });
  }

  #expire(): void {
    const before = Date.now() - (this.#ttlMs ?? 0);
    for (const [key, { revision, storedAt }] of this.#values) if (storedAt < before) this.#remove(key, revision);
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, RETRY_MS);
      const forget = this.#connection.onBack(done);
      function done(): void {
        clearTimeout(timer);
        forget();
        resolve();
      }
    });
  }
}
