// A turn on a terminal: the reply to stdout as it comes, the tool calls beside it on stderr.
import type { ToolCall } from "@warren/proto/warren/agent/v1/agent";
import { chatEvents, type Turn } from "../api/chat-stream.ts";
import type { Client } from "../api/client.ts";
import { oneLine, printable } from "./sanitize.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Says something and shows the reply.
 * @returns the conversation's id.
 * @throws what {@link chatEvents} throws.
 */
export async function playTurn(terminal: Terminal, client: Client, turn: Turn, signal: AbortSignal): Promise<string> {
  let sessionId = turn.sessionId ?? "";
  let lineOpen = false;
  const write = (text: string): void => {
    const shown = printable(text);
    if (!shown) return;
    terminal.write(shown);
    lineOpen = !shown.endsWith("\n");
  };
  const endLine = (): void => {
    if (lineOpen) terminal.write("\n");
    lineOpen = false;
  };
  let said = false;
  try {
    for await (const { event } of chatEvents(client, turn, signal)) {
      if (event?.$case === "started") sessionId = event.value.sessionId || sessionId;
      else if (event?.$case === "text") {
        write(event.value.text);
        said ||= event.value.text !== "";
      } else if (event?.$case === "toolCall" || event?.$case === "toolResult") {
        endLine();
        const line = event.$case === "toolCall" ? callLine(event.value) : resultLine(event.value);
        terminal.note(terminal.paintNote("dim", line));
      } else if (event?.$case === "completed") {
        sessionId = event.value.sessionId || sessionId;
        if (!said) write(event.value.message);
      }
    }
  } finally {
    endLine();
  }
  return sessionId;
}

function callLine(call: ToolCall): string {
  return `→ ${nameOf(call)} ${cut(JSON.stringify(call.arguments ?? {}))}`;
}

function resultLine(call: ToolCall): string {
  const time = `(${call.durationMs < 10 ? call.durationMs.toFixed(1) : Math.round(call.durationMs)} ms)`;
  return call.error ? `✗ ${nameOf(call)} failed: ${cut(call.error)} ${time}` : `← ${cut(call.result)} ${time}`;
}

function nameOf(call: ToolCall): string {
  return oneLine(call.pluginId ? `${call.pluginId}.${call.name}` : call.name);
}

function cut(text: string): string {
  const line = oneLine(text);
  return line.length > 200 ? `${line.slice(0, 199)}…` : line;
}
