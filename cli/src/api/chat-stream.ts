// A turn of a conversation as it happens: server-sent events (WHATWG HTML §9.2).
import { ChatEvent } from "@warren/proto/warren/agent/v1/agent";
import { createParser } from "eventsource-parser";
import { CliError, ExitCode, systemCode } from "../errors.ts";
import type { Client } from "./client.ts";
import { problemFrom, ProblemError } from "./problem.ts";

/** What begins a turn. */
export interface Turn {
  /** Continues this conversation; undefined begins one. */
  readonly sessionId: string | undefined;
  readonly message: string;
}

/**
 * Sends a message and yields what happens until the reply is complete.
 * @throws ProblemError when it is refused, before or during; CliError when the stream is cut or `signal` ends it.
 */
export async function* chatEvents(client: Client, turn: Turn, signal: AbortSignal): AsyncGenerator<ChatEvent> {
  const response = await client.send({
    method: "POST",
    path: "/v1/chat",
    body: { ...(turn.sessionId ? { sessionId: turn.sessionId } : {}), message: turn.message },
    accept: "text/event-stream",
    timeout: 130_000,
    signal,
  });
  const found: ChatEvent[] = [];
  let failure: Error | undefined;
  let complete = false;
  const parser = createParser({
    onEvent: ({ event, data }) => {
      const json = parse(data);
      if (event === "error") failure ??= new ProblemError(problemFrom(json, 500, response.headers));
      else if (json !== undefined) found.push(ChatEvent.fromJSON(json));
    },
    onError: (error) => {
      // Fields of a later standard are not our business; an event without end is.
      if (error.type === "max-buffer-size-exceeded") failure ??= cut(client.url, error);
    },
    maxBufferSize: 16 * 1024 * 1024,
  });
  const decoder = new TextDecoder();
  try {
    for await (const chunk of response.body ?? []) {
      parser.feed(decoder.decode(chunk, { stream: true }));
      for (const event of found.splice(0)) {
        complete ||= event.event?.$case === "completed";
        yield event;
      }
      if (failure) break;
    }
  } catch (error) {
    if (signal.aborted) throw new CliError(ExitCode.interrupted, "cancelled", undefined, { cause: error });
    throw failure ?? cut(client.url, error);
  }
  if (failure) throw failure;
  if (!complete) throw cut(client.url, undefined);
}

function cut(url: string, cause: unknown): CliError {
  const code = systemCode(cause);
  return new CliError(
    ExitCode.unavailable,
    `the reply from ${url} was cut off${code ? ` (${code})` : ""}`,
    "the conversation keeps what was said: ask again",
    { cause },
  );
}

function parse(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
