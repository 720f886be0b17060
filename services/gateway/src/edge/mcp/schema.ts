// Schemas as plugins give them, made into what every MCP client reads: one that is broken must not spoil a whole list.

type Json = Readonly<Record<string, unknown>>;

/** Characters of the longest schema that is passed on. */
const LONGEST = 64 * 1024;
/** Has clients repeat arguments in HTTP headers, which nobody here would compare. */
const HEADER_KEY = "x-mcp-header";

/** A schema of arguments: an object's, always. */
export function inputSchema(given: Json | undefined): { type: "object"; [key: string]: unknown } {
  const schema = passable(given) ?? {};
  const { properties, required } = schema;
  const known = isObject(properties)
    ? Object.fromEntries(Object.entries(properties).filter(([, property]) => isObject(property)))
    : {};
  const needed = Array.isArray(required) ? required.filter((name) => typeof name === "string") : [];
  return { ...schema, type: "object", properties: known, required: needed };
}

/** A schema of structured results; undefined where there is none that clients take. */
export function outputSchema(given: Json | undefined): { type: "object"; [key: string]: unknown } | undefined {
  const schema = passable(given);
  return schema?.["type"] === "object" ? inputSchema(schema) : undefined;
}

function passable(given: Json | undefined): Json | undefined {
  if (given === undefined || JSON.stringify(given).length > LONGEST) return undefined;
  return withoutHeaders(given) as Json;
}

function withoutHeaders(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutHeaders);
  if (!isObject(value)) return value;
  const kept = Object.entries(value).filter(([key]) => key !== HEADER_KEY);
  return Object.fromEntries(kept.map(([key, item]) => [key, withoutHeaders(item)]));
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
