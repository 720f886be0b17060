// One wildcard inbox for all answers to this process, with a map from token to who waits. nats.js' own request()
// allocates a timer, a race and stack traces for every call; this costs a map entry.
import { randomBytes } from "node:crypto";
import type { Msg } from "@nats-io/transport-node";
import type { Connection } from "./connection.ts";

/** A place where answers to one call arrive. */
export interface Route {
  /** The subject to give as reply. */
  readonly subject: string;
  /** Takes no more answers. */
  close(): void;
}

const TOKEN_BYTES = 12;
const TOKENS_AT_ONCE = 1024;

/** Routes answers by the last token of their subject. */
export class Inbox {
  readonly #prefix: string;
  readonly #routes = new Map<string, (message: Msg) => void>();
  #random = Buffer.alloc(0);

  constructor(connection: Connection) {
    // Random, so that no other service can guess where this one waits.
    this.#prefix = `${connection.inboxPrefix}.${randomBytes(12).toString("base64url")}.`;
    connection.subscribe(`${this.#prefix}*`, (message) =>
      this.#routes.get(message.subject.slice(this.#prefix.length))?.(message),
    );
  }

  /** Opens a route. Call it before publishing the request, or its answer may come first. */
  open(onMessage: (message: Msg) => void): Route {
    const token = this.#token();
    this.#routes.set(token, onMessage);
    return { subject: this.#prefix + token, close: () => void this.#routes.delete(token) };
  }

  /** Random, not counted: whoever has answered one call must not know where the answers to others are awaited. */
  #token(): string {
    if (this.#random.length < TOKEN_BYTES) this.#random = randomBytes(TOKEN_BYTES * TOKENS_AT_ONCE);
    const token = this.#random.toString("base64url", 0, TOKEN_BYTES);
    this.#random = this.#random.subarray(TOKEN_BYTES);
    return token;
  }

  /** Routes that are open. */
  get size(): number {
    return this.#routes.size;
  }
}

/** Whether a subject is an inbox of some service: the only place to which a service answers (see the mesh's policy). */
export function isInbox(subject: string | undefined): subject is string {
  return subject !== undefined && /^_INBOX\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(subject);
}

/** True for the message by which NATS says that nobody listens to the subject. */
export function isNoResponders(message: Msg): boolean {
  return message.data.length === 0 && message.headers?.code === 503;
}
