// What a stream holds, read by a consumer that is gone when it is read: one that was left behind would cost the server memory,
// and time with every message, until it is noticed.
import { AckPolicy, type DeliverPolicy, type JsMsg } from "@nats-io/jetstream";
import type { StateDependencies } from "./jetstream.ts";

const FETCH_BATCH = 500;
/** How long a message that is there may take, in milliseconds. */
const FETCH_MS = 5000;
/** When the server forgets a consumer whose reader has died, in nanoseconds. */
const FORGOTTEN_NS = 10_000_000_000;

/**
 * The messages of a stream that are there now.
 * @param filter the subject, or a pattern
 * @param which all of them, or the last of each subject
 * @throws Error when some did not arrive in time.
 */
export async function readMessages(
  { js }: StateDependencies,
  stream: string,
  filter: string,
  which: typeof DeliverPolicy.All | typeof DeliverPolicy.LastPerSubject,
): Promise<JsMsg[]> {
  const manager = await js.jetstreamManager();
  const consumer = await manager.consumers.add(stream, {
    filter_subject: filter,
    ack_policy: AckPolicy.None,
    deliver_policy: which,
    mem_storage: true,
    num_replicas: 1,
    inactive_threshold: FORGOTTEN_NS,
  });
  const messages: JsMsg[] = [];
  try {
    const reader = consumer.num_pending > 0 ? await js.consumers.get(stream, consumer.name) : undefined;
    for (let left = consumer.num_pending; reader && left > 0;) {
      const before = messages.length;
      for await (const message of await reader.fetch({ max_messages: Math.min(left, FETCH_BATCH), expires: FETCH_MS }))
        messages.push(message);
      if (messages.length === before) throw new Error("the messages did not arrive in time");
      left = Math.min(left - (messages.length - before), messages.at(-1)?.info.pending ?? 0);
    }
  } finally {
    // One that cannot be told to go is forgotten soon.
    await manager.consumers.delete(stream, consumer.name).catch(() => false);
  }
  return messages;
}
