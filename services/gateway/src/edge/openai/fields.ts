// What requests in OpenAI's form have in common: text, JSON within text, tools, and how a fault is named.
import { type CompleteRequest, ToolChoice } from "@warren/proto/warren/agent/v1/agent";
import { z } from "zod";
import { parseJsonBody } from "../json-body.ts";
import { type FieldError, Problem } from "../problem.ts";

/** The fields of a request that are read for what they are not: another service's switches, without effect here. */
export const withoutEffect = z.unknown().optional();

/** A field with which something is asked for that is not done here; only its absence is taken. */
export const notServed = (why: string) => z.null(why).optional();

/** Text, whole or in parts of these types; images, audio and files are told apart from it. */
export const textIn = (types: readonly [string, ...string[]]) =>
  z
    .union(
      [
        z.string(),
        z.array(z.object({ type: z.enum(types), text: z.string().optional(), refusal: z.string().optional() })),
      ],
      "must be text, or parts of text: images, audio and files are not understood",
    )
    .transform((content) =>
      typeof content === "string" ? content : content.map((part) => part.text ?? part.refusal ?? "").join(""),
    );

/** A JSON object written as text, as arguments of a call are. */
export const jsonText = z.string().transform((text, context) => {
  try {
    const value = text.trim() === "" ? {} : parseJsonBody(Buffer.from(text));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Told below, in the same words for all that it may be.
  }
  context.addIssue("must be the text of a JSON object");
  return z.NEVER;
});

/** A tool that the caller runs. */
export const functionFields = z.object({
  name: z.string(),
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
});

/** Numbers that both forms of request call the same. */
export const sampling = {
  temperature: z.number().nullish(),
  top_p: z.number().nullish(),
};

/** Which form the answer takes: words, JSON, or JSON of a schema. */
export interface AnswerFormat {
  readonly type: "text" | "json_object" | "json_schema";
  readonly schema?: Record<string, unknown> | null | undefined;
}

/** A format as the agent's contract has it. */
export function formatOf(format: AnswerFormat | null | undefined): Pick<CompleteRequest, "json" | "jsonSchema"> {
  const json = format !== null && format !== undefined && format.type !== "text";
  return { json, jsonSchema: json ? (format.schema ?? undefined) : undefined };
}

/** `none`, `auto` and `required`, or the name of a tool, as the agent's contract has it. */
export function toolChoiceOf(
  choice: "none" | "auto" | "required" | { readonly name: string } | null | undefined,
): Pick<CompleteRequest, "toolChoice" | "toolName"> {
  if (typeof choice === "object" && choice !== null) return { toolChoice: ToolChoice.FUNCTION, toolName: choice.name };
  if (choice === "none") return { toolChoice: ToolChoice.NONE, toolName: "" };
  return { toolChoice: choice === "required" ? ToolChoice.REQUIRED : ToolChoice.UNSPECIFIED, toolName: "" };
}

/**
 * Reads a body.
 * @throws Problem 400 naming each field that is wrong, in OpenAI's words where it has some.
 */
export function read<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const { success, data, error } = schema.safeParse(body ?? {});
  if (success) return data;
  throw refused(error.issues.flatMap(faultsOf));
}

/** Fields that are refused. */
export function refused(errors: readonly FieldError[], code = "INVALID_ARGUMENT"): Problem {
  const detail = errors.map(({ field, message }) => `${field || "the body"}: ${message}`).join("; ");
  return new Problem(400, { code, detail, errors });
}

function faultsOf(issue: z.core.$ZodIssue): FieldError[] {
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => ({
      field: fieldOf([...issue.path, key]).slice(0, 64),
      message: "is not known here",
    }));
  // Of a choice that has no words of its own, the form that fits furthest tells what is wrong in it.
  if (issue.code === "invalid_union" && issue.message === "Invalid input") {
    const inside = issue.errors.find((each) => each.some(({ path }) => path.length > 0)) ?? [];
    if (inside.length > 0) return inside.flatMap((each) => faultsOf({ ...each, path: [...issue.path, ...each.path] }));
  }
  return [{ field: fieldOf(issue.path), message: issue.message.replace(/^Invalid input: /, "") }];
}

function fieldOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>((field, key) => {
    if (typeof key === "number") return `${field}[${key}]`;
    return field === "" ? String(key) : `${field}.${String(key)}`;
  }, "");
}
