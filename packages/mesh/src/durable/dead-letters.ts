// What no delivery could bring to an end is kept in a stream of its own, with what a person needs to know of it.
import { headers } from "@nats-io/transport-node";
import type { StateDependencies } from "../state/jetstream.ts";
import type { Delivery } from "./delivery.ts";
import { store } from "./store.ts";

/** The event's own subject. */
export const SUBJECT_HEADER = "Warren-Subject";
/** The stream that keeps it, and its place there: `audit;17`. */
export const ORIGIN_HEADER = "Warren-Origin";
/** The consumer that could not handle it. */
export const CONSUMER_HEADER = "Warren-Consumer";
/** The status of its last failure: a name such as `INTERNAL`, never the text, which may hold what only the log should. */
export const STATUS_HEADER = "Warren-Status";
/** How often it was delivered. */
export const DELIVERIES_HEADER = "Warren-Deliveries";

/** Where a consumer's dead letters go. */
export interface DeadLetterBox {
  readonly subject: string;
  /** The consumer's name on the wire. */
  readonly consumer: string;
}

/**
 * Keeps an event that could not be handled; once, however often it is tried.
 * @throws RpcError UNAVAILABLE when it could not be stored.
 */
export function bury(delivery: Delivery, status: string, box: DeadLetterBox, deps: StateDependencies): Promise<void> {
  const { message, stream, sequence, count, storedAt } = delivery;
  const carried = headers();
  carried.set(SUBJECT_HEADER, message.subject);
  carried.set(ORIGIN_HEADER, `${stream};${sequence}`);
  carried.set(CONSUMER_HEADER, box.consumer);
  carried.set(STATUS_HEADER, status);
  carried.set(DELIVERIES_HEADER, String(count));
  // Not all headers of the original: some are orders to JetStream.
  if (delivery.traceparent) carried.set("traceparent", delivery.traceparent);
  const id = `${stream}.${sequence}.${storedAt.getTime()}.${box.consumer}`;
  return store("dead_letters", { subject: box.subject, data: message.data, headers: carried, id }, deps);
}
