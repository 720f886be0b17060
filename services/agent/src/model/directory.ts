// The models by the names that callers may ask for.
import { RpcError, StatusCode } from "@warren/mesh";
import type { Model } from "@warren/proto/warren/agent/v1/agent";
import { createFallback, type OnFallback } from "./fallback.ts";
import type { ModelProvider } from "./provider.ts";

/** The name of all configured models in their order, with fallback. */
export const DEFAULT_MODEL = "warren";

/** Finds models by name. */
export interface ModelDirectory {
  /** All configured models in their order, as one. */
  readonly chain: ModelProvider;
  readonly list: readonly Model[];
  /**
   * The model of this name; of none: {@link chain}. One that is asked for by its own name is never another.
   * @throws RpcError NOT_FOUND
   */
  find(name: string): ModelProvider;
}

/** A directory of `models`, in their order of preference. */
export function createModelDirectory(models: readonly ModelProvider[], onFallback: OnFallback): ModelDirectory {
  const chain = createFallback(models, onFallback);
  const byName = new Map([
    ...models.map((model) => [model.name, createFallback([model], onFallback)] as const),
    [DEFAULT_MODEL, chain] as const,
  ]);
  return {
    chain,
    list: [
      { id: DEFAULT_MODEL, owner: "warren" },
      ...models.map(({ name }) => ({ id: name, owner: name === "offline" ? "warren" : (name.split(":")[0] ?? name) })),
    ],
    find(name) {
      const found = name === "" ? chain : byName.get(name);
      if (found) return found;
      throw new RpcError(
        StatusCode.NOT_FOUND,
        `There is no model of this name: the names are ${[...byName.keys()].join(", ")}`,
        { reason: "MODEL_NOT_FOUND" },
      );
    },
  };
}
