// A stream of messages as a response: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)
// or lines of JSON.
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import type { DescMessage, JsonValue } from "@bufbuild/protobuf";
import { bytesToJson } from "@warren/contract";
import type { Problem } from "./problem.ts";

/** How a stream is written. */
export interface StreamFormat {
  readonly contentType: string;
  event(type: DescMessage, json: JsonValue): string;
  error(problem: Record<string, unknown>): string;
  /** Keeps proxies from closing a quiet stream. Empty: the format has none. */
  readonly heartbeat: string;
}

/** `event:` is the oneof's case, `id:` the message's sequence, `data:` the whole message. */
export const serverSentEvents: StreamFormat = {
  contentType: "text/event-stream; charset=utf-8",
  event: (type, json) => {
    const fields = json as Record<string, JsonValue>;
    const chosen = type.oneofs.flatMap((oneof) => oneof.fields).find((field) => fields[field.jsonName] !== undefined);
    const { sequence } = fields;
    const id = typeof sequence === "number" ? `id: ${sequence}\n` : "";
    return `event: ${chosen?.name ?? "message"}\n${id}data: ${JSON.stringify(json)}\n\n`;
  },
  error: (problem) => `event: error\ndata: ${JSON.stringify(problem)}\n\n`,
  heartbeat: ": still here\n\n",
};

/** One message a line; a failure after the start is a last line `{"error": …}`. */
export const jsonLines: StreamFormat = {
  contentType: "application/x-ndjson; charset=utf-8",
  event: (_type, json) => `${JSON.stringify(json)}\n`,
  error: (problem) => `${JSON.stringify({ error: problem })}\n`,
  heartbeat: "",
};

export interface PieceOptions {
  readonly response: ServerResponse;
  readonly headers: Readonly<Record<string, number | string | string[] | undefined>>;
  readonly contentType: string;
  /** What is written, piece by piece. */
  readonly pieces: AsyncIterable<string>;
  /** What is written last when the pieces fail. */
  readonly failure: (thrown: unknown) => string;
  /** Keeps proxies from closing a quiet stream. Empty: nothing does. */
  readonly heartbeat: string;
  readonly heartbeatMs: number;
  /** Called once the status is sent: from there on a failure is a piece. */
  readonly onStart: () => void;
}

export interface StreamOptions extends Pick<PieceOptions, "response" | "headers" | "heartbeatMs" | "onStart"> {
  readonly format: StreamFormat;
  readonly type: DescMessage;
  readonly messages: AsyncIterable<Uint8Array>;
  /** Makes of a failure after the start what the client may see of it. */
  readonly problemOf: (thrown: unknown) => Problem;
  readonly requestId: string;
  /** Sees each message. */
  readonly observe?: ((json: JsonValue) => void) | undefined;
}

/**
 * Writes messages as they come, no faster than the client reads.
 * @throws whatever the stream throws before its first message: the response has not begun then.
 */
export function writeStream(options: StreamOptions): Promise<void> {
  const { format, problemOf, requestId, response, headers, heartbeatMs, onStart } = options;
  return writePieces({
    response,
    headers,
    heartbeatMs,
    onStart,
    contentType: format.contentType,
    heartbeat: format.heartbeat,
    pieces: formatted(options),
    failure: (thrown) => format.error(problemOf(thrown).toJSON(requestId)),
  });
}

async function* formatted({ format, type, messages, observe }: StreamOptions): AsyncGenerator<string> {
  for await (const message of messages) {
    const json = bytesToJson(type, message);
    observe?.(json);
    yield format.event(type, json);
  }
}

/**
 * Writes pieces as they come, no faster than the client reads.
 * @throws whatever they throw before the first: the response has not begun then.
 */
export async function writePieces(options: PieceOptions): Promise<void> {
  const { response, heartbeat, heartbeatMs } = options;
  const pieces = options.pieces[Symbol.asyncIterator]();
  let next = pieces.next();
  // The first piece decides about the status; a stream that is quiet at first begins with a heartbeat.
  await settledWithin(next, heartbeatMs);
  options.onStart();
  response.writeHead(200, { ...options.headers, "content-type": options.contentType });
  response.flushHeaders();
  const beat = setInterval(() => {
    if (heartbeat && !response.writableNeedDrain && !response.destroyed) response.write(heartbeat);
  }, heartbeatMs);
  try {
    for (;;) {
      const { value, done } = await next;
      if (done || response.destroyed) break;
      if (!response.write(value)) await drained(response);
      next = pieces.next();
    }
  } catch (error) {
    if (!response.destroyed) response.write(options.failure(error));
  } finally {
    clearInterval(beat);
    // Ends the stream at its service, too, where the client left first.
    await pieces.return?.().catch(() => undefined);
    response.end();
  }
}

/** Resolves when the promise does or the time is up; rejects when the promise does so in that time. */
async function settledWithin(promise: Promise<unknown>, milliseconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, milliseconds)));
  try {
    await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function drained(response: ServerResponse): Promise<void> {
  const stop = new AbortController();
  const { signal } = stop;
  try {
    await Promise.race([once(response, "drain", { signal }), once(response, "close", { signal })]);
  } finally {
    stop.abort();
  }
}
