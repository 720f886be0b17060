// Asking a durable consumer for its next message: one at a time, so that none waits in a buffer while its time runs.
import { randomBytes } from "node:crypto";
import type { Msg } from "@nats-io/transport-node";
import type { Connection } from "../connection.ts";
import { foreignApi, RECORDS } from "../policy/names.ts";

/** How long the server holds a request when there is nothing to send, in milliseconds. */
const EXPIRES_MS = 10_000;
/** How much later its word that there is nothing may come, in milliseconds. */
const SLACK_MS = 1000;
const NS_PER_MS = 1_000_000;
const REQUEST_TIMEOUT = 408;

/** A message, the word that there is none now, or that the consumer cannot be reached. */
export type Pulled = Msg | "nothing" | "unavailable";

/**
 * The next message of a consumer. Ends early when `signal` fires; what the server sent until then is still returned.
 * @param consumer `<stream>.<name>`
 */
export async function pull(connection: Connection, consumer: string, signal: AbortSignal): Promise<Pulled> {
  if (signal.aborted) return "nothing";
  if (!connection.up) return "unavailable";
  const { promise, resolve } = Promise.withResolvers<Pulled>();
  // An inbox of its own: without a subscriber the server forgets the request, and sends what comes later to others.
  const inbox = `${connection.inboxPrefix}.${randomBytes(12).toString("base64url")}`;
  const subscription = connection.subscribe(inbox, (message) =>
    resolve(isDelivery(message) ? message : empty(message)),
  );
  const lost = connection.onLost(() => resolve("unavailable"));
  const late = setTimeout(() => resolve("unavailable"), EXPIRES_MS + SLACK_MS);
  const stop = (): void => {
    const nothing = (): void => resolve("nothing");
    subscription.drain().then(nothing, nothing);
  };
  signal.addEventListener("abort", stop);
  try {
    const request = JSON.stringify({ batch: 1, expires: EXPIRES_MS * NS_PER_MS });
    connection.nats.publish(`${foreignApi(RECORDS)}.CONSUMER.MSG.NEXT.${consumer}`, request, { reply: inbox });
    return await promise;
  } finally {
    signal.removeEventListener("abort", stop);
    clearTimeout(late);
    lost();
    if (!subscription.isClosed()) subscription.unsubscribe();
  }
}

/** Stored messages can carry any headers, so that it is not by these that a delivery is told from the server's own word. */
function isDelivery(message: Msg): boolean {
  return message.reply?.startsWith("$JS.ACK.") ?? false;
}

function empty(message: Msg): Pulled {
  return message.headers?.code === REQUEST_TIMEOUT ? "nothing" : "unavailable";
}
