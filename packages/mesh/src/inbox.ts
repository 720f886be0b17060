// One wildcard inbox for all answers to this process, with a map from token to who waits. nats.js' own request()
// allocates a timer, a race and stack traces for every call; this costs a look into a map.
import { randomBytes } from "node:crypto";
import type { Msg } from "@nats-io/transport-node";
import { BUNDLE_INBOX, BUNDLE_TOKEN, unbundle } from "./answer-bundle.ts";
import type { Connection } from "./connection.ts";
import type { RpcError } from "./status.ts";
import { hasHeaders, headerBlock, subjectOf } from "./wire.ts";

/** Who waits at a route. */
export interface Receiver {
  receive(message: Msg): void;
  /** An answer that came with others. Absent: none is awaited. */
  answer?(data: Uint8Array): void;
  /** The connection was lost. Absent: the receiver outlasts that. */
  fail?(error: RpcError): void;
}

/** A place where answers to one call arrive. */
export interface Route {
  /** The subject to give as reply. */
  readonly subject: string;
  /** Takes no more answers. */
  close(): void;
}

const TOKEN_BYTES = 12;
const TOKENS_AT_ONCE = 1024;
/** Routes of one pool that wait to be used again. */
const MOST_IDLE = 256;

/** A route that may be used again. */
export class ReusableRoute {
  readonly subject: string;
  readonly token: string;
  receiver: Receiver | undefined;

  constructor(subject: string, token: string) {
    this.subject = subject;
    this.token = token;
  }
}

/**
 * Routes that were used for calls of one service and got their one answer there. They serve its next calls: nats-server takes
 * a third less time for a subject that it has seen. Nobody but that service ever learns of them.
 */
export class RoutePool {
  readonly #idle: ReusableRoute[] = [];

  /** The route that was used last: nats-server's cache of a user's permissions holds 128 subjects. */
  take(): ReusableRoute | undefined {
    return this.#idle.pop();
  }

  /** False when there are enough. */
  put(route: ReusableRoute): boolean {
    if (this.#idle.length >= MOST_IDLE) return false;
    this.#idle.push(route);
    return true;
  }
}

/** Routes answers by the last token of their subject. */
export class Inbox {
  readonly #prefix: string;
  readonly #routes = new Map<string, ReusableRoute>();
  #random = Buffer.alloc(0);
  #open = 0;

  constructor(connection: Connection) {
    // Random, so that no other service can guess where this one waits.
    this.#prefix = `${connection.inboxPrefix}.${randomBytes(12).toString("base64url")}${BUNDLE_INBOX}`;
    const deliver = (token: string, answer: Uint8Array): void => this.#routes.get(token)?.receiver?.answer?.(answer);
    connection.subscribe(`${this.#prefix}*`, (message) => {
      const token = subjectOf(message, this.#prefix.length);
      if (token === BUNDLE_TOKEN) unbundle(message.data, deliver);
      else this.#routes.get(token)?.receiver?.receive(message);
    });
  }

  /** Opens a route for once. Call it before publishing the request, or its answer may come first. */
  open(onMessage: (message: Msg) => void): Route {
    const route = this.lease({ receive: onMessage });
    const { subject } = route;
    return { subject, close: () => this.release(route) };
  }

  /** The same without a closure; from a pool, where one is given and has a route left. */
  lease(receiver: Receiver, pool?: RoutePool): ReusableRoute {
    let route = pool?.take();
    if (!route) {
      const token = this.#token();
      route = new ReusableRoute(this.#prefix + token, token);
      this.#routes.set(token, route);
    }
    route.receiver = receiver;
    this.#open += 1;
    return route;
  }

  /**
   * Takes no more answers at a route.
   * @param pool Where it may wait for its next use: only if no answer to what it was used for can come any more.
   */
  release(route: ReusableRoute, pool?: RoutePool): void {
    if (!route.receiver) return;
    route.receiver = undefined;
    this.#open -= 1;
    if (!pool?.put(route)) this.#routes.delete(route.token);
  }

  /** Fails whoever waits for what a lost connection cannot bring. */
  fail(error: RpcError): void {
    for (const { receiver } of [...this.#routes.values()]) receiver?.fail?.(error);
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
    return this.#open;
  }
}

const INBOX = /^_INBOX\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;

/** Whether a subject is an inbox of some service: the only place to which a service answers (see the mesh's policy). */
export function isInbox(subject: string | undefined): subject is string {
  return subject !== undefined && INBOX.test(subject);
}

const NO_RESPONDERS = /^NATS\/1\.0 +503\b/;

/** True for the message by which NATS says that nobody listens to the subject. */
export function isNoResponders(message: Msg): boolean {
  return hasHeaders(message) && message.data.length === 0 && NO_RESPONDERS.test(headerBlock(message));
}
