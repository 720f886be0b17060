// Keeps the tools that a model is offered to those the conversation is about: long lists cost tokens and mislead.
import { createSearchCache } from "../tools/search.ts";
import type { ModelMessage, ModelProvider, ModelTool } from "./provider.ts";

/** The same model, offered at most `limit` tools: those called in the conversation, then the best matches for its newest words. */
export function limitTools(provider: ModelProvider, limit: number): ModelProvider {
  const searchOf = createSearchCache();
  return {
    name: provider.name,
    step(request) {
      if (request.toolsChosen || request.tools.length <= limit) return provider.step(request);
      const called = new Set(
        request.messages
          .flatMap((message) => (message.role === "assistant" ? message.toolCalls : []))
          .map((call) => call.name),
      );
      const found = searchOf(request.tools).find(newestWords(request.messages), limit);
      const wanted = new Set<ModelTool>([
        ...request.tools.filter((tool) => called.has(tool.name)).slice(-limit),
        ...found,
      ]);
      // In the list's own order: the same selection is the same prompt, which providers cache.
      const chosen = new Set([...wanted].slice(0, limit));
      return provider.step({ ...request, tools: request.tools.filter((tool) => chosen.has(tool)) });
    },
  };
}

/** What the person said last, and before: "and in Tokyo?" needs the question it continues. */
function newestWords(messages: readonly ModelMessage[]): string {
  return messages
    .filter((message) => message.role === "user")
    .slice(-2)
    .map((message) => message.text)
    .join(" ");
}
