// The model that needs neither network nor account: deterministic rules behind the same port as any language model.
import { setImmediate as nextTick } from "node:timers/promises";
import { createSearchCache } from "../../tools/search.ts";
import {
  ModelError,
  type ModelMessage,
  type ModelProvider,
  type ModelTool,
  type ModelToolCall,
  type StepEvent,
  type StepRequest,
} from "../provider.ts";
import { fillArguments } from "./arguments.ts";
import { chooseTool } from "./choose-tool.ts";
import { cut } from "./cut.ts";
import { acknowledge, collectFacts, recall } from "./facts.ts";
import { createLiteralReader } from "./literals.ts";
import { shrug, smallTalk } from "./small-talk.ts";
import { isFiller, stem, words } from "./words.ts";

const MODEL = "offline";
const SHOWN_RESULT = 4_000;
// What it looks at of each message: its rules are made for sentences, and must not hold up the process over a page.
const READ_CHARACTERS = 8_000;
// A long reply lets other work of this process in between.
const WORDS_PER_TICK = 64;

interface Reply {
  readonly text: string;
  readonly toolCalls: readonly Omit<ModelToolCall, "id">[];
}

/**
 * Warren's offline model. It talks a little, remembers what was said, calls tools by lexical matching, and says what it
 * is. The same conversation always gets the same reply.
 */
export function createOfflineModel(): ModelProvider {
  const searchOf = createSearchCache({
    split: words,
    fold: (word) => (isFiller(word) ? undefined : stem(word)),
  });
  const read = createLiteralReader();

  function reply(request: StepRequest): Reply {
    if (request.json) throw new ModelError("rejected", MODEL, "the offline model answers in sentences, not in JSON");
    const said = request.messages.flatMap((message) =>
      message.role === "user" ? [message.text.slice(0, READ_CHARACTERS)] : [],
    );
    const message = said.at(-1) ?? "";
    if (request.toolUse !== "auto" && request.toolUse !== "none") return obey(request.toolUse, message, request.tools);
    const results = lastResults(request.messages);
    if (results.length > 0) return { text: results.map(tellResult).join("\n"), toolCalls: [] };
    const facts = collectFacts(said);
    const remembered = recall(message, facts);
    if (remembered) return { text: remembered, toolCalls: [] };
    const talk = smallTalk(message, request.tools, facts.get("name")?.at(-1));
    const asked = request.toolUse === "none" ? NOTHING : toolsFor(message, request.tools);
    if (asked.toolCalls.length > 0) return asked;
    const text = acknowledge(message) ?? talk ?? asked.text;
    return { text: text === "" ? shrug(request.tools) : text, toolCalls: [] };
  }

  /** The calls that a message asks for, one for each of its sentences at most; else what is missing for them. */
  function toolsFor(message: string, tools: readonly ModelTool[]): Reply {
    if (tools.length === 0) return NOTHING;
    const toolCalls: Omit<ModelToolCall, "id">[] = [];
    let text = "";
    for (const sentence of sentences(message)) {
      const choice = chooseTool(sentence, read(sentence), tools, searchOf(tools));
      if (!choice) continue;
      if (choice.missing.length === 0) toolCalls.push({ name: choice.tool.name, arguments: choice.arguments });
      else text ||= `I would call ${choice.tool.name}, but I still need: ${choice.missing.join(", ")}.`;
    }
    return { text, toolCalls };
  }

  /** The call that the caller insists on, with what the message spells out for it. */
  function obey(use: "required" | { readonly tool: string }, message: string, tools: readonly ModelTool[]): Reply {
    const asked = use === "required" ? toolsFor(message, tools) : NOTHING;
    if (asked.toolCalls.length > 0) return { text: "", toolCalls: asked.toolCalls };
    const named = use === "required" ? (tools.length === 1 ? tools[0] : undefined) : tools.find(isNamed(use.tool));
    if (!named)
      throw new ModelError("rejected", MODEL, "the offline model finds no tool that fits: name the one to call");
    const filled = fillArguments(named.inputSchema, read(message), message, named.name);
    return { text: "", toolCalls: [{ name: named.name, arguments: filled.arguments }] };
  }

  return {
    name: MODEL,
    async *step(request): AsyncGenerator<StepEvent> {
      request.signal.throwIfAborted();
      const { text: whole, toolCalls } = reply(request);
      const { text, reason } = cut(whole, request.sampling);
      for (const [index, word] of (text.match(/\S+\s*/g) ?? []).entries()) {
        if (index % WORDS_PER_TICK === WORDS_PER_TICK - 1) await nextTick();
        request.signal.throwIfAborted();
        yield { type: "text", text: word };
      }
      for (const [index, call] of toolCalls.entries()) yield { type: "tool-call", id: `call_${index}`, ...call };
      yield {
        type: "finish",
        model: MODEL,
        reason: toolCalls.length > 0 ? "tool-calls" : reason,
        usage: { inputTokens: countWords(request.messages), outputTokens: words(text).length },
      };
    },
  };
}

const NOTHING: Reply = { text: "", toolCalls: [] };

function isNamed(name: string): (tool: ModelTool) => boolean {
  return (tool) => tool.name === name;
}

/** The results that answer the newest assistant message: empty while the newest word is the person's. */
function lastResults(messages: readonly ModelMessage[]): Extract<ModelMessage, { role: "tool" }>[] {
  const results: Extract<ModelMessage, { role: "tool" }>[] = [];
  for (const message of messages.toReversed()) {
    if (message.role !== "tool") break;
    results.unshift(message);
  }
  return results;
}

/** A tool that answers with an object often puts a sentence for people into its `text`. */
function sentenceIn(result: string): string | undefined {
  if (!result.startsWith("{")) return undefined;
  try {
    const { text } = JSON.parse(result) as { text?: unknown };
    return typeof text === "string" && text !== "" ? text : undefined;
  } catch {
    return undefined;
  }
}

function tellResult(result: Extract<ModelMessage, { role: "tool" }>): string {
  const said = sentenceIn(result.text) ?? result.text;
  const text = said.length > SHOWN_RESULT ? `${said.slice(0, SHOWN_RESULT)}… (shortened)` : said;
  if (result.failed) return `The tool ${result.name} failed: ${text}`;
  return text === "" ? `The tool ${result.name} ran and returned nothing.` : `${result.name} says: ${text}`;
}

/** Sentences, and orders joined by "then"; quoted text stays whole. */
function sentences(message: string): string[] {
  const parts = message.match(
    /(?:"[^"]*"|(?<!\p{L})'[^']*'(?!\p{L})|\{[^}]*\}|[^"{]|["{])+?(?:[.!?;]+(?=\s)|\s+and then\s+|,\s+then\s+|$)/gsu,
  );
  return (parts ?? [message])
    .map((part) => part.replace(/\s*,?\s+(?:and )?then\s+$/, "").trim())
    .filter((part) => part !== "");
}

/** This model has no tokens: it counts words. */
function countWords(messages: readonly ModelMessage[]): number {
  return messages.reduce((sum, message) => sum + words(message.text).length, 0);
}
