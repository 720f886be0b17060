// How many tokens a turn used, as the agent tells: in its answer, or in the last event of its stream.
import type { JsonValue } from "@bufbuild/protobuf";
import type { Admission } from "./admission.ts";

/** Sets token budgets right by what the agent says the model used, where somebody counts. */
export function countTokens(
  admission: Pick<Admission, "counts" | "used">,
  request: Parameters<Admission["used"]>[0],
  message: () => JsonValue,
): void {
  const tokens = admission.counts(request) ? tokensUsed(message()) : undefined;
  if (tokens !== undefined) admission.used(request, tokens);
}

/** Tokens in and out together. Undefined: the message does not say. */
export function tokensUsed(message: JsonValue): number | undefined {
  const said = fieldOf(message, "usage") ?? fieldOf(fieldOf(message, "completed"), "usage");
  const [total, input, output] = ["totalTokens", "inputTokens", "outputTokens"].map((name) => fieldOf(said, name));
  if (typeof total === "number") return total;
  return typeof input === "number" || typeof output === "number" ? Number(input ?? 0) + Number(output ?? 0) : undefined;
}

function fieldOf(value: JsonValue | undefined, name: string): JsonValue | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value[name] : undefined;
}
