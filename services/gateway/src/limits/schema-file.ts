import { z } from "zod";
import { policySchema } from "./policy-schema.ts";

/**
 * The JSON Schema (draft 2020-12) of a limits file as text.
 * Written to `docs/reference/limits.schema.json`; a test fails when that file is not this text.
 */
export function policySchemaText(): string {
  const schema = z.toJSONSchema(policySchema, { io: "input" });
  return `${JSON.stringify({ title: "Warren's rate limits", ...schema }, undefined, 2)}\n`;
}
