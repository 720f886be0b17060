// Finds the tools that a message is about: BM25 over names, titles, descriptions and arguments (minisearch).
import MiniSearch from "minisearch";
import type { ModelTool } from "../model/provider.ts";

/** A lexical index of some tools. */
export interface ToolSearch {
  /** The best matches for `text`, best first, at most `limit`. Tools that share no word with it are left out. */
  find(text: string, limit: number): ModelTool[];
  /** The same for words that are cut and folded already. */
  findTerms(terms: readonly string[], limit: number): ModelTool[];
}

/** How words are cut and folded; the same for tools and queries. */
export interface WordRules {
  readonly split: (text: string) => string[];
  /** `undefined` drops the word. */
  readonly fold: (word: string) => string | undefined;
}

const PLAIN: WordRules = {
  split: (text) => text.replace(/([a-z0-9])([A-Z])/g, "$1 $2").match(/[\p{L}\p{N}]+/gu) ?? [],
  fold: (word) => word.toLowerCase(),
};

/** Indexes `tools`; a few milliseconds for hundreds of them, so keep the index as long as the list stays the same. */
export function createToolSearch(tools: readonly ModelTool[], rules: WordRules = PLAIN): ToolSearch {
  const index = new MiniSearch<{ id: number; name: string; description: string; parameters: string }>({
    fields: ["name", "description", "parameters"],
    tokenize: rules.split,
    processTerm: (word) => rules.fold(word) ?? null,
    searchOptions: { boost: { name: 4, description: 1, parameters: 0.5 }, prefix: false, fuzzy: false },
  });
  index.addAll(
    tools.map((tool, id) => ({
      id,
      name: tool.name,
      description: tool.description,
      parameters: parameterText(tool.inputSchema),
    })),
  );
  const found = (results: readonly { id: unknown }[], limit: number): ModelTool[] =>
    results.slice(0, limit).flatMap(({ id }) => tools[id as number] ?? []);
  return {
    find: (text, limit) => found(index.search(text), limit),
    findTerms: (terms, limit) =>
      found(index.search(terms.join(" "), { tokenize: (text) => text.split(" "), processTerm: (term) => term }), limit),
  };
}

/** Keeps one index for each list of tools, for as long as the list itself is kept. */
export function createSearchCache(rules?: WordRules): (tools: readonly ModelTool[]) => ToolSearch {
  const known = new WeakMap<readonly ModelTool[], ToolSearch>();
  return (tools) => {
    const found = known.get(tools) ?? createToolSearch(tools, rules);
    known.set(tools, found);
    return found;
  };
}

function parameterText(schema: ModelTool["inputSchema"]): string {
  const properties = schema["properties"];
  if (typeof properties !== "object" || properties === null) return "";
  return Object.entries(properties)
    .map(([name, property]) => {
      const description = (property as { description?: unknown } | null)?.description;
      return typeof description === "string" ? `${name} ${description}` : name;
    })
    .join(" ");
}
