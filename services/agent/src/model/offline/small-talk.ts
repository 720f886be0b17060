// Replies to what needs no tool: greetings, thanks, questions about the model itself.
import type { ModelTool } from "../provider.ts";

const SHOWN_TOOLS = 12;

/** A reply to small talk, or undefined when `message` is something else. */
export function smallTalk(message: string, tools: readonly ModelTool[], name: string | undefined): string | undefined {
  const text = message.trim().toLowerCase().replaceAll("’", "'");
  const you = name ? `, ${name}` : "";
  if (
    /^(?:who|what) are you\b|\bare you (?:an? )?(?:ai|bot|human|person|model|llm|real)\b|\bwhat(?:'s| is) your name\b/.test(
      text,
    )
  ) {
    return "I am Warren's offline model: no language model, but a set of fixed rules that needs no network and no account. I remember what you say in this conversation and call the tools of installed plugins.";
  }
  if (
    /^(?:help\b|what can you do|what tools\b|which tools\b|what are you able to do|list (?:your |the |all )?tools)/.test(
      text,
    )
  ) {
    return abilities(tools);
  }
  if (/^(?:hello|hi|hey|good (?:morning|afternoon|evening|day)|greetings|howdy)\b[^?]*$/.test(text)) {
    return `Hello${you}! I am Warren's offline model. What can I do for you?`;
  }
  if (/\bhow are you\b|\bhow(?:'s| is) it going\b|\bhow do you do\b/.test(text)) {
    return `I am running, thank you${you}. What can I do for you?`;
  }
  if (/^(?:thanks|thank you|cheers|great|nice|cool|perfect|ok(?:ay)?|good job|well done)\b[^?]*$/.test(text))
    return `You are welcome${you}!`;
  if (/^(?:bye|goodbye|good night|see you|farewell)\b/.test(text)) return `Goodbye${you}!`;
  return undefined;
}

/** The reply where nothing else fits: says what the model is and is not. */
export function shrug(tools: readonly ModelTool[]): string {
  const can = tools.length > 0 ? "call a tool of a plugin, or remember what you tell me" : "remember what you tell me";
  return `I am Warren's offline model, and I have no answer to that: I can ${can}. For free conversation, set up a language model in WARREN_MODELS.`;
}

function abilities(tools: readonly ModelTool[]): string {
  if (tools.length === 0)
    return "I can remember what you tell me. No tool is available to me now: install a plugin to give me some.";
  const names = tools.slice(0, SHOWN_TOOLS).map((tool) => tool.name);
  const more = tools.length > names.length ? `, and ${tools.length - names.length} more` : "";
  return `I can remember what you tell me, and call these tools: ${names.join(", ")}${more}.`;
}
