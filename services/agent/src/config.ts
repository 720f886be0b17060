// Every setting of the service, beside those that all services have.
import { z } from "zod";
import { MODEL_KINDS, type ModelSpec, parseModels } from "./model/providers.ts";

const url = z
  .url({ protocol: /^https?$/, error: "must be an http or https address" })
  .refine((text) => !hasCredentials(text), "must hold no user or password: put the key into the key file");

const milliseconds = z.coerce.number().int().min(100).max(3_600_000);

/** The settings, as `runService` reads them from the environment or the configuration file. */
export const config = z.object({
  models: z
    .string()
    .default("offline")
    .transform(readModels)
    .describe(
      `Models in the order of preference, separated by commas; each is one of ${MODEL_KINDS.join(", ")}, then ":" and the model's name (offline has none).`,
    )
    .meta({ env: "WARREN_MODELS" }),
  openAiCompatibleUrl: url
    .optional()
    .describe("Base URL of an OpenAI-compatible server, such as http://127.0.0.1:11434/v1.")
    .meta({ env: "WARREN_OPENAI_COMPATIBLE_URL" }),
  openAiCompatibleKeyFile: z
    .string()
    .optional()
    .describe("File with the key of that server (mode 0600). Default: no key is sent.")
    .meta({ env: "WARREN_OPENAI_COMPATIBLE_KEY_FILE" }),
  openAiUrl: url
    .default("https://api.openai.com/v1")
    .describe("Base URL of OpenAI's API.")
    .meta({ env: "WARREN_OPENAI_URL" }),
  openAiKeyFile: z
    .string()
    .optional()
    .describe("File with the OpenAI key (mode 0600).")
    .meta({ env: "WARREN_OPENAI_KEY_FILE" }),
  anthropicUrl: url
    .default("https://api.anthropic.com/v1")
    .describe("Base URL of Anthropic's API.")
    .meta({ env: "WARREN_ANTHROPIC_URL" }),
  anthropicKeyFile: z
    .string()
    .optional()
    .describe("File with the Anthropic key (mode 0600).")
    .meta({ env: "WARREN_ANTHROPIC_KEY_FILE" }),
  modelStallMs: milliseconds
    .default(60_000)
    .describe("Longest silence of a model before it counts as unreachable, in milliseconds.")
    .meta({ env: "WARREN_MODEL_STALL_MS" }),
  maxTools: z.coerce
    .number()
    .int()
    .min(1)
    .max(128)
    .default(24)
    .describe(
      "Tools offered to a language model at most: the best matches for what was said. The offline model gets all.",
    )
    .meta({ env: "WARREN_MAX_TOOLS" }),
  maxSteps: z.coerce
    .number()
    .int()
    .min(1)
    .max(100)
    .default(16)
    .describe("Model steps of one turn at most; in the last one the model may call no tool.")
    .meta({ env: "WARREN_MAX_STEPS" }),
  contextCharacters: z.coerce
    .number()
    .int()
    .min(1_000)
    .default(200_000)
    .describe("Characters of a conversation that a model is sent at most; the oldest turns are left out first.")
    .meta({ env: "WARREN_CONTEXT_CHARACTERS" }),
  toolTimeoutMs: milliseconds
    .default(30_000)
    .describe("Longest time for one call of a tool, in milliseconds.")
    .meta({ env: "WARREN_TOOL_TIMEOUT_MS" }),
});

/** The settings as read. */
export type Config = z.infer<typeof config>;

function readModels(text: string, context: { addIssue(message: string): void }): ModelSpec[] {
  try {
    return parseModels(text);
  } catch (error) {
    context.addIssue(error instanceof Error ? error.message : String(error));
    return z.NEVER;
  }
}

function hasCredentials(text: string): boolean {
  const { username, password } = new URL(text);
  return username !== "" || password !== "";
}
