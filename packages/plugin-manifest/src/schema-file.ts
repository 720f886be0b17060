import { z } from "zod";
import { manifestSchema } from "./manifest-schema.ts";

/**
 * The manifest's JSON Schema (draft 2020-12) as text, as an author writes the file: defaults may be left out.
 * Written to `docs/reference/plugin.schema.json`; a test fails when that file is not this text.
 */
export function manifestSchemaText(): string {
  const schema = z.toJSONSchema(manifestSchema, { io: "input" });
  return `${JSON.stringify({ title: "plugin.json", ...schema }, undefined, 2)}\n`;
}
