// Decides whether a sentence asks for a tool, and for which: a shortlist by BM25, then the share of words that agree on
// both sides, and whether the arguments can be filled.
import type { ToolSearch } from "../../tools/search.ts";
import type { JsonObject, ModelTool } from "../provider.ts";
import { fillArguments } from "./arguments.ts";
import type { Literals } from "./literals.ts";
import { isFiller, synonyms, terms, words } from "./words.ts";

/** What a sentence asks for. `missing` is not empty when the tool is clear but its arguments are not. */
export interface Choice {
  readonly tool: ModelTool;
  readonly arguments: JsonObject;
  readonly missing: readonly string[];
}

// Verbs that begin names of tools without saying what they are about.
const GENERIC = new Set(terms("get read list fetch current simulate trigger"));
const SHORTLIST = 16;
// Found with the table of test/model/offline/choose-tool.test.ts; small talk stays below, requests above.
const ACCEPT = 0.62;

/**
 * The tool that `sentence` asks for.
 * @returns undefined when it asks for none, or for something no tool does.
 */
export function chooseTool(
  sentence: string,
  literals: Literals,
  tools: readonly ModelTool[],
  search: ToolSearch,
): Choice | undefined {
  const named = namedTool(sentence, tools);
  if (named) {
    // The name itself must not be taken for a value: `get-structured-content` mentions "content".
    const rest = sentence.replace(new RegExp(named.name, "i"), " ");
    return { tool: named, ...fillArguments(named.inputSchema, literals, rest, named.name) };
  }
  const manner = mannerOf(sentence);
  if (!manner) return undefined;
  const query = [...terms(literals.rest), ...impliedTerms(sentence, literals)];
  if (query.length === 0) return undefined;
  const shortlist = search.findTerms([...query, ...query.flatMap(synonyms)], SHORTLIST);
  let best: { choice: Choice; score: number } | undefined;
  for (const [rank, tool] of shortlist.entries()) {
    const agreement = agree(query, tool, literals.quoted.length > 0 ? ["text"] : []);
    if (!agreement || (manner.kind === "order" && !orders(manner.verb, tool))) continue;
    const filled = fillArguments(tool.inputSchema, literals, sentence, tool.name);
    const score =
      0.45 * agreement.ofQuery +
      0.35 * agreement.ofName +
      0.2 * filled.fit -
      0.3 * Math.min(1, filled.missing.length) -
      (/\bdeprecated\b/i.test(tool.description) ? 0.2 : 0) -
      // Among equals, BM25 decides.
      0.001 * rank;
    if (score > (best?.score ?? 0))
      best = { choice: { tool, arguments: filled.arguments, missing: filled.missing }, score };
  }
  return best && best.score >= ACCEPT ? best.choice : undefined;
}

/** A tool called by its very name, as in "use get-sum with a=1 b=2". One plain word is no name: it may mean just itself. */
function namedTool(sentence: string, tools: readonly ModelTool[]): ModelTool | undefined {
  const said = new Set(sentence.toLowerCase().match(/[a-z0-9]+(?:[_-][a-z0-9]+)*/g) ?? []);
  const asked = /\b(?:use|call|run|invoke|tool)\b/i.test(sentence);
  return tools.find(({ name }) => said.has(name.toLowerCase()) && (asked || /[_-]/.test(name)));
}

type Manner = { readonly kind: "question" } | { readonly kind: "order"; readonly verb: string } | undefined;

/** A question, or an order with its first word: what merely mentions a tool's word asks for nothing. */
function mannerOf(sentence: string): Manner {
  if (/\?\s*$/.test(sentence) || /^\W*i(?:['’]d like| would like| want| need)\b/i.test(sentence))
    return { kind: "question" };
  const verb = words(sentence).find((word) => !OPENERS.has(word));
  if (verb === undefined) return undefined;
  return ASKING.has(verb) ? { kind: "question" } : { kind: "order", verb };
}

const OPENERS = new Set("please hello hi hey ok okay now and so also well thanks warren just".split(" "));
// First words after which a sentence asks for something even where its question mark is missing.
const ASKING = new Set(
  (
    "what whats which how when where can could would will is are do does tell show give get let lets use call run list read write find search " +
    "look make create count compute calculate add set send open fetch check print display return take put play"
  ).split(" "),
);

/** Words that a sentence means without saying them. */
function impliedTerms(sentence: string, literals: Literals): string[] {
  const implied: string[] = [];
  if (/\bhow (?:many|much|long)\b/i.test(sentence)) implied.push("count");
  if (/-?\d\s*\+\s*-?\d/.test(sentence)) implied.push("sum");
  if (/\bwhat(?:['’]s| is)? (?:the )?(?:day|date|year|month|weekday)\b/i.test(sentence)) implied.push("time");
  if (literals.urls.length > 0) implied.push("url");
  for (const path of literals.paths) {
    if (/\.(?:png|jpe?g|gif|webp|mp3|wav|ogg|flac)$/i.test(path)) implied.push("media");
    else if (/\.[a-z0-9]+$/i.test(path)) implied.push("text", "file");
    else implied.push("directory");
  }
  return implied.flatMap(terms);
}

/**
 * How far the words of a request and those of a tool agree, each from 0 to 1.
 * @param hints Words that the tool's name may well hold, but that alone mean nothing.
 * @returns undefined when no word of the tool's name, other than a generic one, is meant.
 */
function agree(
  query: readonly string[],
  tool: ModelTool,
  hints: readonly string[],
): { ofQuery: number; ofName: number } | undefined {
  const name = nameTerms(tool.name);
  const description = new Set(terms(tool.description));
  const parameters = new Set(terms(Object.keys((tool.inputSchema["properties"] ?? {}) as object).join(" ")));
  const meant = new Set<string>();
  let matched = 0;
  for (const term of new Set(query)) {
    const forms = [term, ...synonyms(term)];
    const inName = forms.filter((form) => name.includes(form));
    for (const form of inName) meant.add(form);
    if (inName.length > 0) matched += 1;
    else if (description.has(term)) matched += 0.7;
    else if (parameters.has(term) || forms.some((form) => description.has(form))) matched += 0.5;
  }
  const distinctive = name.filter((term) => !GENERIC.has(term));
  if (![...meant].some((term) => distinctive.includes(term)) && distinctive.length > 0) return undefined;
  for (const hint of hints) if (name.includes(hint)) meant.add(hint);
  const weight = (term: string): number => (GENERIC.has(term) ? 0.3 : 1);
  const total = name.reduce((sum, term) => sum + weight(term), 0);
  const hit = [...meant].reduce((sum, term) => sum + weight(term), 0);
  return { ofQuery: matched / new Set(query).size, ofName: total === 0 ? 0 : hit / total };
}

/** Whether a tool is named for what an order begins with: "reverse …" for `reverse_text`. */
function orders(verb: string, tool: ModelTool): boolean {
  const [first] = nameTerms(tool.name);
  return terms(verb).some((term) => term === first || synonyms(term).includes(first ?? ""));
}

function nameTerms(name: string): string[] {
  const found = terms(name);
  return found.length > 0 ? found : words(name).filter((word) => !isFiller(word));
}
