// A watch-fed copy of a bucket: reads cost a map look-up.
import type { Connection } from "../connection.ts";
import type { Change } from "./kv.ts";

const RETRY_MS = 100;

/** A bucket's values, in memory. While NATS is away it holds what it knew. */
export class KvCache<T> {
  readonly #watch: (signal: AbortSignal) => AsyncIterable<Change<T> | "caught-up">;
  readonly #connection: Connection;
  readonly #values = new Map<string, { value: T; revision: number }>();
  readonly #listeners = new Set<(change: Change<T>) => void>();
  readonly #closed = new AbortController();

  private constructor(watch: (signal: AbortSignal) => AsyncIterable<Change<T> | "caught-up">, connection: Connection) {
    this.#watch = watch;
    this.#connection = connection;
  }

  /** Opens a cache; resolves when it holds all that the bucket held. */
  static async open<T>(
    watch: (signal: AbortSignal) => AsyncIterable<Change<T> | "caught-up">,
    connection: Connection,
  ): Promise<KvCache<T>> {
    const cache = new KvCache(watch, connection);
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
  }

  async #follow(complete: () => void): Promise<void> {
    while (!this.#closed.signal.aborted) {
      if (this.#connection.up) await this.#once(complete).catch(() => undefined);
      if (!this.#closed.signal.aborted) await this.#pause();
    }
  }

  /** Watches until the connection is lost. What was deleted while nobody watched is noticed once the rest was seen. */
  async #once(complete: () => void): Promise<void> {
    const seen = new Set<string>();
    let caughtUp = false;
    for await (const change of this.#watch(this.#closed.signal)) {
      if (change === "caught-up") {
        for (const [key, { revision }] of this.#values)
          if (!seen.has(key)) this.#apply({ key, value: undefined, revision });
        caughtUp = true;
        seen.clear();
        complete();
        continue;
      }
      if (!caughtUp) seen.add(change.key);
      this.#apply(change);
    }
  }

  #apply(change: Change<T>): void {
    const known = this.#values.get(change.key);
    if (known && change.value !== undefined && change.revision <= known.revision) return;
    if (!known && change.value === undefined) return;
    if (change.value === undefined) this.#values.delete(change.key);
    else this.#values.set(change.key, { value: change.value, revision: change.revision });
    for (const listener of this.#listeners) listener(change);
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
