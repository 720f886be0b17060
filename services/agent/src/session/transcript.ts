// A conversation as its owner reads it.
import { type Message, Role, type Session } from "@warren/proto/warren/agent/v1/agent";
import type { OpenSession } from "./log.ts";
import { callsOf, joinSteps, turnsOf } from "./turns.ts";

const TITLE_LENGTH = 80;

/** The whole conversation: what each side said, with the calls made on the way. */
export function transcript(session: Pick<OpenSession, "id" | "entries">): Session {
  const turns = turnsOf(session.entries);
  const messages: Message[] = turns.flatMap((turn) => {
    const said: Message = { role: Role.USER, text: turn.userText, toolCalls: [], time: turn.time };
    const text = turn.outcome === "completed" ? turn.reply : joinSteps(turn.steps.map((step) => step.text));
    const toolCalls = callsOf(turn);
    if (text === "" && toolCalls.length === 0) return [said];
    return [said, { role: Role.ASSISTANT, text, toolCalls, time: turn.endTime }];
  });
  return {
    id: session.id,
    title: titleOf(turns[0]?.userText ?? ""),
    createTime: turns[0]?.time,
    updateTime: turns.at(-1)?.endTime,
    messages,
    messageCount: messages.length,
  };
}

/** The conversation without its messages, for a list. */
export function summary(session: Pick<OpenSession, "id" | "entries">): Session {
  return { ...transcript(session), messages: [] };
}

function titleOf(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  if (line.length <= TITLE_LENGTH) return line;
  // A cut inside a surrogate pair would leave half a character.
  return `${line.slice(0, TITLE_LENGTH - 1).replace(/[\uD800-\uDBFF]$/, "")}…`;
}
