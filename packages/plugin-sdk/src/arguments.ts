import { isDeepStrictEqual } from "node:util";
import { isObject } from "./lines.ts";

/** A JSON Schema as plain data. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/**
 * Checks a value against the part of JSON Schema that arguments of tools are described with: `type`, `enum`, `const`,
 * `required`, `properties`, `additionalProperties`, `items`, `minItems`, `maxItems`, `minLength`, `maxLength`, `pattern`,
 * `minimum`, `maximum`. Other keywords say nothing here: a tool that needs them checks for itself.
 *
 * @returns what is wrong, one sentence for each field, which it names; empty when all is well.
 * @example
 * ```ts
 * schemaProblems({ type: "object", required: ["text"] }, {}); // ["text is required"]
 * ```
 */
export function schemaProblems(schema: JsonSchema, value: unknown, path = ""): string[] {
  const name = path === "" ? "the arguments" : path;
  const types = typesOf(schema);
  if (types.length > 0 && !types.some((type) => isOfType(value, type))) {
    return [`${name} must be ${types.map(withArticle).join(" or ")}`];
  }
  if (Array.isArray(schema["enum"]) && !schema["enum"].some((each) => isDeepStrictEqual(each, value))) {
    return [`${name} must be one of ${schema["enum"].map((each) => JSON.stringify(each)).join(", ")}`];
  }
  if ("const" in schema && !isDeepStrictEqual(schema["const"], value)) {
    return [`${name} must be ${JSON.stringify(schema["const"])}`];
  }
  if (typeof value === "string") return textProblems(schema, value, name);
  if (typeof value === "number") return rangeProblems(schema, "minimum", "maximum", value, `${name} must be`, "");
  if (Array.isArray(value)) return listProblems(schema, value, path, name);
  return isObject(value) ? objectProblems(schema, value, path) : [];
}

function objectProblems(schema: JsonSchema, value: Record<string, unknown>, path: string): string[] {
  const properties = isObject(schema["properties"]) ? schema["properties"] : {};
  const required = Array.isArray(schema["required"]) ? schema["required"] : [];
  const field = (key: string) => (path === "" ? key : `${path}.${key}`);
  const missing = required.filter((key) => typeof key === "string" && !Object.hasOwn(value, key));
  const problems = missing.map((key) => `${field(String(key))} is required`);
  const rest = schema["additionalProperties"];
  for (const [key, each] of Object.entries(value)) {
    const known = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (isObject(known)) problems.push(...schemaProblems(known, each, field(key)));
    else if (isObject(rest)) problems.push(...schemaProblems(rest, each, field(key)));
    else if (rest === false) problems.push(`${field(key)} is not known; there is ${list(Object.keys(properties))}`);
  }
  return problems;
}

function listProblems(schema: JsonSchema, value: readonly unknown[], path: string, name: string): string[] {
  const problems = rangeProblems(schema, "minItems", "maxItems", value.length, `${name} must have`, " items");
  const { items } = schema;
  if (!isObject(items)) return problems;
  return [...problems, ...value.flatMap((each, index) => schemaProblems(items, each, `${path}[${index}]`))];
}

function textProblems(schema: JsonSchema, value: string, name: string): string[] {
  // JSON Schema counts characters, not UTF-16 units.
  const hasBounds = "minLength" in schema || "maxLength" in schema;
  const length = hasBounds ? Array.from(value).length : 0;
  const problems = hasBounds
    ? rangeProblems(schema, "minLength", "maxLength", length, `${name} must have`, " characters")
    : [];
  const { pattern } = schema;
  if (typeof pattern === "string" && !new RegExp(pattern, "u").test(value)) {
    problems.push(`${name} must match ${pattern}`);
  }
  return problems;
}

function rangeProblems(
  schema: JsonSchema,
  low: string,
  high: string,
  value: number,
  must: string,
  unit: string,
): string[] {
  const least = schema[low];
  const most = schema[high];
  if (typeof least === "number" && value < least) return [`${must} at least ${least}${unit}`];
  return typeof most === "number" && value > most ? [`${must} at most ${most}${unit}`] : [];
}

function typesOf(schema: JsonSchema): string[] {
  const { type } = schema;
  if (typeof type === "string") return [type];
  return Array.isArray(type) ? type.filter((each) => typeof each === "string") : [];
}

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return isObject(value);
    case "integer":
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

function withArticle(type: string): string {
  if (type === "null") return type;
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`;
}

function list(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.join(", ");
}
