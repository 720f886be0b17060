// The entries of a conversation, grouped into turns: the one reading of the log that context, transcript and index share.
import type { ModelStep, SessionEntry, ToolCall, Usage } from "@warren/proto/warren/agent/v1/agent";

/** One turn as it was stored. */
export interface StoredTurn {
  readonly id: string;
  readonly time: Date | undefined;
  /** Time of its last entry. */
  readonly endTime: Date | undefined;
  readonly userText: string;
  readonly steps: readonly ModelStep[];
  /** By the call's id. */
  readonly results: ReadonlyMap<string, ToolCall>;
  readonly outcome: "open" | "completed" | "failed";
  /** The reply of a completed turn. */
  readonly reply: string;
}

type Growing = { -readonly [K in keyof StoredTurn]: StoredTurn[K] } & {
  readonly steps: ModelStep[];
  readonly results: Map<string, ToolCall>;
};

/** Groups entries, oldest first. Entries of a turn without its beginning are left out. */
export function turnsOf(entries: readonly SessionEntry[]): StoredTurn[] {
  const turns = new Map<string, Growing>();
  for (const { turnId, time, entry } of entries) {
    if (entry?.$case === "userMessage") {
      const begun = { id: turnId, time, endTime: time, userText: entry.value.text, reply: "" };
      turns.set(turnId, { ...begun, steps: [], results: new Map(), outcome: "open" });
      continue;
    }
    const turn = turns.get(turnId);
    if (!turn || !entry) continue;
    turn.endTime = time;
    if (entry.$case === "modelStep") turn.steps.push(entry.value);
    else if (entry.$case === "toolResult") turn.results.set(entry.value.id, entry.value);
    else if (entry.$case === "turnFailed") turn.outcome = "failed";
    else {
      turn.outcome = "completed";
      turn.reply = entry.value.text;
    }
  }
  return [...turns.values()];
}

/** The calls of a turn in order, each with its result; without one, with the reason for that as its error. */
export function callsOf(turn: StoredTurn): ToolCall[] {
  return turn.steps.flatMap((step) =>
    step.toolCalls.map(
      (call) => turn.results.get(call.id) ?? { ...call, error: "the turn ended before the tool answered" },
    ),
  );
}

/** The text of a turn's steps as one: what its reader saw. */
export function joinSteps(texts: readonly string[]): string {
  return texts.filter((text) => text !== "").join(STEP_BREAK);
}

/** What stands between the texts of two steps. */
export const STEP_BREAK = "\n\n";

/** The sum over a turn's steps; the model is the last that answered. */
export function sumUsage(steps: readonly ModelStep[]): Usage {
  const total: Usage = { inputTokens: 0, outputTokens: 0, totalTokens: 0, model: "", steps: steps.length };
  for (const { usage } of steps) {
    if (!usage) continue;
    total.inputTokens += usage.inputTokens;
    total.outputTokens += usage.outputTokens;
    total.totalTokens += usage.totalTokens;
    total.model = usage.model;
  }
  return total;
}
