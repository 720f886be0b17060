// One subject that this replica listens to: it can leave, come back, and say when what it took is answered.
import type { Msg, Subscription } from "@nats-io/transport-node";
import type { Connection } from "./connection.ts";

/** Serves a call that came by a subject, and says {@link ServedSubject.answered} when it is over, whatever happened. */
export type Serve = (message: Msg, by: ServedSubject) => void;

/** A subject with the calls that came by it. */
export class ServedSubject {
  readonly #connection: Connection;
  readonly #subject: string;
  readonly #serve: Serve;
  readonly #settled: (() => void)[] = [];
  #calls = 0;
  /** The queue group; undefined: every replica gets every call. */
  readonly queue: string | undefined;
  #subscription: Subscription | undefined;
  #leaving: Promise<void> | undefined;

  constructor(connection: Connection, subject: string, queue: string | undefined, serve: Serve) {
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
  settled(): Promise<void> {
    return this.#calls === 0 ? Promise.resolve() : new Promise((resolve) => this.#settled.push(resolve));
  }

  /** One of the calls that were taken is over. */
  answered(): void {
    this.#calls -= 1;
    if (this.#calls === 0) for (const resolve of this.#settled.splice(0)) resolve();
  }

  #take(message: Msg): void {
    this.#calls += 1;
    this.#serve(message, this);
  }
}
