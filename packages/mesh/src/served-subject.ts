// One subject that this replica listens to: it can leave, come back, and say when what it took is answered.
import type { Msg, Subscription } from "@nats-io/transport-node";
import type { Connection } from "./connection.ts";

/** A subject with the calls that came by it. */
export class ServedSubject {
  readonly #connection: Connection;
  readonly #subject: string;
  readonly #serve: (message: Msg) => Promise<void>;
  readonly #calls = new Set<Promise<void>>();
  /** The queue group; undefined: every replica gets every call. */
  readonly queue: string | undefined;
  #subscription: Subscription | undefined;
  #leaving: Promise<void> | undefined;

  constructor(
    connection: Connection,
    subject: string,
    queue: string | undefined,
    serve: (message: Msg) => Promise<void>,
  ) {
    this.#connection = connection;
    this.#subject = subject;
    this.queue = queue;
    this.#serve = serve;
  }

  /** Listens. */
  join(): void {
    this.#subscription ??= this.#connection.subscribe(this.#subject, (message) => this.#take(message), this.queue);
  }

  /** Takes no more calls; those that NATS has sent already are still taken. */
  async leave(): Promise<void> {
    // Whoever leaves a second time waits for the first: what was sent may still be on its way.
    this.#leaving ??= this.#drain().finally(() => (this.#leaving = undefined));
    await this.#leaving;
  }

  async #drain(): Promise<void> {
    const subscription = this.#subscription;
    this.#subscription = undefined;
    if (!subscription || subscription.isClosed()) return;
    // Without a connection there is nothing on its way, but the client would subscribe again when it is back.
    if (this.#connection.up) await subscription.drain();
    else subscription.unsubscribe();
  }

  /** Resolves when every call that was taken is answered. */
  async settled(): Promise<void> {
    await Promise.all(this.#calls);
  }

  #take(message: Msg): void {
    const call = this.#serve(message);
    this.#calls.add(call);
    void call.finally(() => this.#calls.delete(call));
  }
}
