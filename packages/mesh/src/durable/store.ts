// Publishing what must not be lost: it counts as published when JetStream has stored it, and is stored once.
import { JetStreamApiError } from "@nats-io/jetstream";
import { errors, type MsgHdrs } from "@nats-io/transport-node";
import { operate, type StateDependencies } from "../state/jetstream.ts";
import type { EventStreamName } from "./event-stream.ts";

/** How long one attempt waits for JetStream's word, in milliseconds. */
const ATTEMPT_MS = 2000;
/** The first pause between two attempts, which doubles, and the longest: whoever listens hears each attempt. */
const RETRY_MS = 100;
const LONGEST_RETRY_MS = 1000;
/** Statuses of JetStream's errors. */
const NOT_FOUND = 404;
const SERVER_FAULT = 500;

/** A message for a stream. */
export interface Storable {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: MsgHdrs;
  /** Messages of the same id within two minutes are stored once. */
  readonly id: string;
}

/**
 * Stores a message, trying again under the same id while JetStream is not ready or its answer is lost, for at most 10 s.
 * @throws RpcError UNAVAILABLE when there is no word that it is stored, at once when the connection is lost. It may be
 * stored all the same; under the same id it can be sent again.
 */
export async function store(stream: EventStreamName, message: Storable, deps: StateDependencies): Promise<void> {
  let over = false;
  const attempts = async (): Promise<void> => {
    for (let pause = RETRY_MS; ; pause = Math.min(2 * pause, LONGEST_RETRY_MS)) {
      try {
        await deps.js.publish(message.subject, message.data, {
          msgID: message.id,
          headers: message.headers,
          timeout: ATTEMPT_MS,
          expect: { streamName: stream },
        });
        return;
      } catch (error) {
        if (over || isFinal(error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, pause));
        if (over) throw error;
      }
    }
  };
  try {
    await operate(deps, `Storing an event in ${stream}`, attempts);
  } finally {
    over = true;
  }
}

/** Whether another attempt would end the same way. */
function isFinal(error: unknown): boolean {
  if (error instanceof JetStreamApiError) return error.status < SERVER_FAULT && error.status !== NOT_FOUND;
  const cause = error instanceof errors.RequestError ? error.cause : error;
  return cause instanceof errors.PermissionViolationError || cause instanceof errors.InvalidArgumentError;
}
