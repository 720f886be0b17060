// Problems in the form in which OpenAI's clients read errors: `{"error": {message, type, param, code}}`.
// https://platform.openai.com/docs/guides/error-codes
import type { Problem } from "../problem.ts";

const CODES: Readonly<Record<string, string>> = {
  UNAUTHENTICATED: "invalid_api_key",
  SCOPE_MISSING: "insufficient_permissions",
  QUOTA_EXCEEDED: "rate_limit_exceeded",
  INVALID_ARGUMENT: "invalid_value",
};

/** The body of an error. */
export interface OpenAiError {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  };
}

/** A problem in OpenAI's form; the first field that is wrong is its `param`. */
export function openAiError({ status, options: { code, detail, errors } }: Problem): OpenAiError {
  const field = code === "MODEL_NOT_FOUND" ? "model" : errors?.[0]?.field;
  return {
    error: { message: detail, type: typeOf(status), param: field || null, code: CODES[code] ?? code.toLowerCase() },
  };
}

function typeOf(status: number): string {
  if (status === 429) return "requests";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

/** The contract's name of a field as requests have it: `messages[1].toolCallId` is `messages[1].tool_call_id`. */
export function requestField(field: string): string {
  return field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
