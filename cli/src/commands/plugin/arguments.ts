// A tool's arguments as people type them.
import { isRecord } from "../../api/problem.ts";
import { usageError } from "../../errors.ts";

/** A key and its value, as typed. */
export type Pair = readonly [key: string, value: string];

/** Splits `key=value` at the first equals sign. @throws CliError (usage) when there is none. */
export function pairOf(word: string): Pair {
  const at = word.indexOf("=");
  if (at < 1) throw usageError(`"${word}" is no argument`, "write key=value, or --args with JSON");
  return [word.slice(0, at), word.slice(at + 1)];
}

/**
 * Reads values by the tool's JSON Schema: text stays text where the schema says so, and is JSON where it says otherwise.
 * A key the schema does not describe is JSON if it reads as JSON, else text.
 * @throws CliError (usage) naming the value that is not of its type.
 */
export function argumentsFromPairs(
  pairs: readonly Pair[],
  schema: Readonly<Record<string, unknown>> | undefined,
): Record<string, unknown> {
  const properties = isRecord(schema?.["properties"]) ? schema["properties"] : {};
  return Object.fromEntries(
    pairs.map(([key, value]) => {
      const property = Object.hasOwn(properties, key) ? properties[key] : undefined;
      return [key, valueOf(key, value, typesOf(property))];
    }),
  );
}

function typesOf(property: unknown): readonly string[] {
  const type = isRecord(property) ? property["type"] : undefined;
  if (typeof type === "string") return [type];
  return Array.isArray(type) ? type.filter((each) => typeof each === "string") : [];
}

function valueOf(key: string, text: string, types: readonly string[]): unknown {
  const read = parse(text);
  if (!types.length) return read === undefined ? text : read;
  if (types.some((type) => type !== "string" && is(type, read))) return read;
  if (types.includes("string")) return text;
  throw usageError(`${key} is ${JSON.stringify(text)}: the tool wants ${types.join(" or ")}`);
}

function is(type: string, value: unknown): boolean {
  if (type === "null") return value === null;
  if (type === "integer") return Number.isInteger(value);
  if (type === "array") return Array.isArray(value);
  return type === "object" ? isRecord(value) : typeof value === type && value !== undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
