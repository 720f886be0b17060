// Reading the streams of events for people: page by page, message by message, without a consumer.
import { JetStreamApiCodes, JetStreamApiError, type StoredMsg } from "@nats-io/jetstream";
import { operate, type StateDependencies } from "../state/jetstream.ts";
import { CONSUMER_HEADER, DELIVERIES_HEADER, STATUS_HEADER, SUBJECT_HEADER } from "./dead-letters.ts";
import { AnyEvent } from "./event.ts";
import type { EventStreamName } from "./event-stream.ts";

/** An event that is kept. */
export interface StoredEvent {
  /** Its place in the stream, from 1, growing. */
  readonly sequence: number;
  readonly storedAt: Date;
  readonly event: AnyEvent;
  /** The trace it was published in (W3C Trace Context); undefined: in none. */
  readonly traceparent: string | undefined;
}

/** An event that a consumer could not handle. */
export interface DeadLetter extends StoredEvent {
  /** The consumer: `<service>_<durable>`. */
  readonly consumer: string;
  /** The status of the last failure: `INTERNAL`. The log of the consumer's service has its text. */
  readonly status: string;
  readonly deliveries: number;
}

/** Which part of a stream to read. */
export interface PageOptions {
  /** The sequence of the last event seen. Default 0: from the oldest that is kept. */
  readonly after?: number;
  /** Given: backwards from the event before this sequence, newest first; `Infinity`: from the newest. */
  readonly before?: number;
  /** Events to read at most: 1 to 1000. Default 100. */
  readonly limit?: number;
}

const LONGEST_PAGE = 1000;
const DEFAULT_PAGE = 100;

/** The events after one, in order, or before one, in reverse; none: there are no more now. */
export async function auditPage(options: PageOptions, deps: StateDependencies): Promise<StoredEvent[]> {
  const messages = await page("audit", options, deps);
  return messages.map(({ seq, time, header, subject, data }) => ({
    sequence: seq,
    storedAt: time,
    event: new AnyEvent(subject, data),
    traceparent: header.get("traceparent") || undefined,
  }));
}

/** The dead letters after one, in order; none: there are no more now. */
export async function deadLetterPage(options: PageOptions, deps: StateDependencies): Promise<DeadLetter[]> {
  const messages = await page("dead_letters", options, deps);
  return messages.map(({ seq, time, header, data }) => ({
    sequence: seq,
    storedAt: time,
    event: new AnyEvent(header.get(SUBJECT_HEADER), data),
    traceparent: header.get("traceparent") || undefined,
    consumer: header.get(CONSUMER_HEADER),
    status: header.get(STATUS_HEADER),
    deliveries: Number(header.get(DELIVERIES_HEADER)),
  }));
}

function page(stream: EventStreamName, options: PageOptions, deps: StateDependencies): Promise<StoredMsg[]> {
  const { after = 0, before, limit = DEFAULT_PAGE } = options;
  return operate(deps, `Reading ${stream}`, async () => {
    const { streams } = await deps.js.jetstreamManager(false);
    const { first_seq: first, last_seq: last } = (await streams.info(stream)).state;
    const step = before === undefined ? 1 : -1;
    const from = before === undefined ? Math.max(first, after + 1) : Math.min(last, before - 1);
    const left = before === undefined ? last - from + 1 : from - Math.max(first, after + 1) + 1;
    const length = Math.max(0, Math.min(limit, LONGEST_PAGE, left));
    const messages = await Promise.all(
      Array.from({ length }, (_, index) =>
        streams.getMessage(stream, { seq: from + step * index }).catch(ignoreExpired),
      ),
    );
    return messages.filter((message) => message !== null);
  });
}

/** An event may reach its age between two questions. */
function ignoreExpired(error: unknown): null {
  if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.NoMessageFound) return null;
  throw error;
}
