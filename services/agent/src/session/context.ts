// What a model is told of a conversation: its turns as messages, as many of the newest as the budget holds.
import type { SessionEntry, ToolCall } from "@warren/proto/warren/agent/v1/agent";
import type { JsonObject, ModelMessage } from "../model/provider.ts";
import { type StoredTurn, turnsOf } from "./turns.ts";

/** How a stored call's tool is called in this request. */
export type NameOf = (pluginId: string, tool: string) => string;

/**
 * The messages for the next step, oldest first.
 * @param budget Characters at most; whole turns are left out from the oldest on, never the newest turn.
 */
export function contextOf(entries: readonly SessionEntry[], nameOf: NameOf, budget: number): ModelMessage[] {
  const turns = turnsOf(entries);
  const kept: ModelMessage[][] = [];
  let left = budget;
  for (const turn of turns.toReversed()) {
    const messages = messagesOf(turn, nameOf);
    left -= messages.reduce((sum, message) => sum + sizeOf(message), 0);
    if (left < 0 && kept.length > 0) break;
    kept.unshift(messages);
  }
  return kept.flat();
}

function messagesOf(turn: StoredTurn, nameOf: NameOf): ModelMessage[] {
  const messages: ModelMessage[] = [{ role: "user", text: turn.userText }];
  for (const step of turn.steps) {
    const toolCalls = step.toolCalls.map((call) => ({
      id: call.id,
      name: nameOf(call.pluginId, call.name),
      arguments: (call.arguments ?? {}) as JsonObject,
    }));
    messages.push({ role: "assistant", text: step.text, toolCalls });
    for (const call of step.toolCalls) messages.push(resultMessage(call, turn.results.get(call.id), nameOf));
  }
  // A turn that failed before a word of reply: models expect the two sides to take turns.
  if (turn.outcome === "failed" && messages.at(-1)?.role !== "assistant") {
    messages.push({ role: "assistant", text: "(The reply failed.)", toolCalls: [] });
  }
  return messages;
}

/** Every call has an answer: models refuse a conversation in which one is missing. */
function resultMessage(call: ToolCall, result: ToolCall | undefined, nameOf: NameOf): ModelMessage {
  const failed = !result || result.error !== "";
  const text = result
    ? failed
      ? result.error
      : result.result
    : "The call was interrupted; whether it ran is not known.";
  return { role: "tool", callId: call.id, name: nameOf(call.pluginId, call.name), text, failed };
}

function sizeOf(message: ModelMessage): number {
  const calls = message.role === "assistant" ? message.toolCalls : [];
  return message.text.length + (calls.length > 0 ? JSON.stringify(calls).length : 0);
}
