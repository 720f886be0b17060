// Makes the models that the configuration names.
import { createOfflineModel } from "./offline/offline.ts";
import type { ModelProvider } from "./provider.ts";
import { limitTools } from "./tool-limit.ts";

/** Kinds of model that can be configured. */
export const MODEL_KINDS = ["offline", "openai-compatible", "openai", "anthropic"] as const;

/** One model of the list: `openai-compatible:llama3` is kind `openai-compatible`, model `llama3`. */
export interface ModelSpec {
  readonly kind: (typeof MODEL_KINDS)[number];
  /** Empty for `offline`. */
  readonly model: string;
}

/** Where models are reached and how. URLs without credentials; keys in files. */
export interface ModelSettings {
  readonly models: readonly ModelSpec[];
  readonly openAiCompatibleUrl?: string | undefined;
  readonly openAiCompatibleKeyFile?: string | undefined;
  readonly openAiUrl: string;
  readonly openAiKeyFile?: string | undefined;
  readonly anthropicUrl: string;
  readonly anthropicKeyFile?: string | undefined;
  /** Longest silence of a model, in milliseconds. */
  readonly stallMs: number;
  /** Tools offered to a model at most; the offline model gets all. */
  readonly maxTools: number;
}

/**
 * Reads a list such as `openai-compatible:llama3,offline`.
 * @throws Error that names the part that is wrong.
 */
export function parseModels(list: string): ModelSpec[] {
  return list.split(",").map((part) => {
    const text = part.trim();
    const [head = "", ...rest] = text.split(":");
    const kind = MODEL_KINDS.find((each) => each === head);
    const model = rest.join(":");
    if (!kind) throw new Error(`"${text}" is no model: begin with one of ${MODEL_KINDS.join(", ")}`);
    if (kind === "offline" ? text !== "offline" : model === "") {
      throw new Error(
        kind === "offline"
          ? `"${text}": the offline model has no name after it`
          : `"${text}" names no model: write ${kind}:<model>`,
      );
    }
    return { kind, model };
  });
}

/**
 * The models in order, keys read.
 * @throws Error when a URL or key that a model needs is missing.
 */
export function createProviders(settings: ModelSettings): Promise<ModelProvider[]> {
  return Promise.all(settings.models.map((spec) => createProvider(spec, settings)));
}

async function createProvider({ kind, model }: ModelSpec, settings: ModelSettings): Promise<ModelProvider> {
  if (kind === "offline") return createOfflineModel();
  // Loaded where it is needed: the SDK takes longer to load than all the rest of this service.
  const { createRemoteModel } = await import("./remote.ts");
  return limitTools(await createRemoteModel(kind, model, settings), settings.maxTools);
}
