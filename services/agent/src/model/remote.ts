// Models of providers that are reached over the network, by the AI SDK.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import type { LanguageModel } from "ai";
import { createAiSdkModel } from "./ai-sdk.ts";
import { readKeyFile } from "./key-file.ts";
import type { ModelProvider } from "./provider.ts";
import type { ModelSettings, ModelSpec } from "./providers.ts";

// The SDK would print what a provider leaves out of a request, past the service's log.
(globalThis as { AI_SDK_LOG_WARNINGS?: boolean }).AI_SDK_LOG_WARNINGS = false;

type RemoteKind = Exclude<ModelSpec["kind"], "offline">;

/**
 * A model of a provider, its key read.
 * @throws Error when the URL or key that it needs is missing.
 */
export async function createRemoteModel(
  kind: RemoteKind,
  model: string,
  settings: ModelSettings,
): Promise<ModelProvider> {
  return createAiSdkModel({
    name: `${kind}:${model}`,
    model: await createModel(kind, model, settings),
    stallMs: settings.stallMs,
  });
}

async function createModel(kind: RemoteKind, model: string, settings: ModelSettings): Promise<LanguageModel> {
  switch (kind) {
    case "openai-compatible": {
      const baseURL = needed(settings.openAiCompatibleUrl, kind, "WARREN_OPENAI_COMPATIBLE_URL");
      const file = settings.openAiCompatibleKeyFile;
      const key = file === undefined ? {} : { apiKey: await readKeyFile(file) };
      return createOpenAICompatible({
        name: kind,
        baseURL,
        includeUsage: true,
        supportsStructuredOutputs: true,
        fetch: straightFetch,
        ...key,
      })(model);
    }
    case "openai": {
      const apiKey = await readKeyFile(needed(settings.openAiKeyFile, kind, "WARREN_OPENAI_KEY_FILE"));
      // Chat completions: unlike the Responses API, nothing of the conversation is kept there.
      return createOpenAI({ apiKey, baseURL: settings.openAiUrl, fetch: straightFetch }).chat(model);
    }
    case "anthropic": {
      const apiKey = await readKeyFile(needed(settings.anthropicKeyFile, kind, "WARREN_ANTHROPIC_KEY_FILE"));
      return createAnthropic({ apiKey, baseURL: settings.anthropicUrl, fetch: straightFetch })(model);
    }
  }
}

/** Never follows a redirect: it would carry key and conversation to an address that nobody configured. */
const straightFetch: typeof fetch = (input, init) => fetch(input, { ...init, redirect: "error" });

function needed(value: string | undefined, kind: string, variable: string): string {
  if (value === undefined) throw new Error(`A model of kind ${kind} is configured: set ${variable}`);
  return value;
}
