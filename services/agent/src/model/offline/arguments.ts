// Fills a tool's arguments from what a message spells out, guided by the tool's JSON Schema.
import type { JsonObject } from "../provider.ts";
import type { Literals } from "./literals.ts";
import { isFiller, terms, words } from "./words.ts";

/** Arguments for one tool, or what is missing for them. */
export interface Filled {
  readonly arguments: JsonObject;
  /** Required properties that the message gives no value for. */
  readonly missing: readonly string[];
  /** The share of the message's values that found a place: 1 when it spells out none. */
  readonly fit: number;
}

interface PropertySchema {
  readonly type?: unknown;
  readonly enum?: unknown;
  readonly items?: unknown;
  readonly format?: unknown;
  readonly description?: unknown;
  readonly default?: unknown;
}

/** What is left to hand out while the properties are filled. */
interface Supply {
  readonly quoted: string[];
  readonly numbers: number[];
  readonly paths: string[];
  readonly urls: string[];
  readonly timeZones: string[];
}

/**
 * Fills what `schema` asks for. Required properties come first; an optional one is filled only where the message
 * clearly means it, so that nobody's tool gets a guess.
 * @param message What the person said, for enumerations and for text without quotation marks.
 */
export function fillArguments(schema: JsonObject, literals: Literals, message: string, toolName: string): Filled {
  const properties = (isObject(schema["properties"]) ? schema["properties"] : {}) as Record<string, PropertySchema>;
  const names = Object.keys(properties);
  const required = Array.isArray(schema["required"])
    ? schema["required"].filter((name) => typeof name === "string")
    : [];
  if (literals.json) {
    return { arguments: literals.json, missing: required.filter((name) => !(name in (literals.json ?? {}))), fit: 1 };
  }
  const supply: Supply = {
    quoted: [...literals.quoted],
    numbers: [...literals.numbers],
    paths: [...literals.paths],
    urls: [...literals.urls],
    timeZones: [...literals.timeZones],
  };
  const offered = count(supply) + Object.keys(literals.named).length;
  const filled: Record<string, unknown> = {};
  let unplacedNames = Object.keys(literals.named).length;
  const missing: string[] = [];
  for (const name of [...required, ...names.filter((each) => !required.includes(each))]) {
    const schemaOf = properties[name] ?? {};
    const spoken = literals.named[name];
    const value =
      spoken === undefined
        ? fillProperty(name, schemaOf, supply, {
            message,
            toolName,
            rest: literals.rest,
            required: required.includes(name),
          })
        : coerce(spoken, schemaOf);
    if (spoken !== undefined) unplacedNames--;
    if (value !== undefined) filled[name] = value;
    else if (required.includes(name)) missing.push(name);
  }
  const unplaced = count(supply) + unplacedNames;
  return { arguments: filled, missing, fit: offered === 0 ? 1 : (offered - unplaced) / offered };
}

function fillProperty(
  name: string,
  schema: PropertySchema,
  supply: Supply,
  said: { message: string; toolName: string; rest: string; required: boolean },
): unknown {
  if (Array.isArray(schema.enum)) return mentioned(schema.enum, said.message, supply);
  const type = Array.isArray(schema.type) ? schema.type.find((each) => each !== "null") : schema.type;
  const kind = kindOf(name, schema);
  const meant = said.required || mentions(said.message, name);
  if (type === "number" || type === "integer") return meant ? takeNumber(supply, type) : undefined;
  if (type === "boolean") return meant ? readBoolean(said.message) : undefined;
  if (type === "array") return said.required ? takeAll(name, schema, supply) : undefined;
  if (type === "object") return undefined;
  if (kind === "zone") return supply.timeZones.shift() ?? (said.required ? "UTC" : undefined);
  if (kind === "url") return supply.urls.shift() ?? (said.required ? supply.quoted.shift() : undefined);
  if (kind === "path") return supply.paths.shift() ?? (said.required ? supply.quoted.shift() : undefined);
  if (!meant) return undefined;
  return supply.quoted.shift() ?? (said.required ? unquoted(said.rest, said.toolName, supply) : undefined);
}

/** Free text without quotation marks, as in "Echo hello world": what is left after the words that name the tool. */
function unquoted(rest: string, toolName: string, supply: Supply): string | undefined {
  const afterColon = /:\s*(\S.*)$/.exec(rest)?.[1];
  if (afterColon) return afterColon;
  const naming = new Set([...words(toolName), ...terms(toolName)]);
  const said = rest.split(/\s+/);
  const names = (word: string): boolean => [...words(word), ...terms(word)].some((each) => naming.has(each));
  const first = said.findIndex(names);
  if (first >= 0 && said.slice(0, first).every((word) => isFiller(words(word).join("")))) {
    let start = first;
    while (start < said.length && names(said[start] ?? "")) start++;
    const text = said
      .slice(start)
      .join(" ")
      .replace(WHAT_IT_IS, "")
      .replace(/[?.!]+$/, "");
    if (text) return text;
  }
  // A number, a path or an address given where text is asked for is that text.
  return supply.paths.shift() ?? supply.urls.shift() ?? supply.numbers.shift()?.toString();
}

const WHAT_IT_IS = /^(?:(?:the|this|a|following|of|in)\s+)*(?:text|string|word|phrase|message|sentence)s?(?:\s+|$)/i;

function mentioned(values: readonly unknown[], message: string, supply: Supply): unknown {
  const folded = ` ${words(message).join(" ")} `;
  const value = values
    .filter((each) => typeof each === "string" || typeof each === "number")
    .sort((a, b) => String(b).length - String(a).length)
    .find((each) => folded.includes(` ${words(String(each)).join(" ")} `));
  if (value === undefined) return undefined;
  drop(supply.quoted, (each) => each.toLowerCase() === String(value).toLowerCase());
  drop(supply.numbers, (each) => String(each) === String(value));
  // "Chicago" was taken for a time zone.
  drop(supply.timeZones, (each) => words(each).at(-1) === words(String(value)).at(-1));
  return value;
}

function takeAll(name: string, schema: PropertySchema, supply: Supply): unknown[] | undefined {
  const items = (isObject(schema.items) ? schema.items : {}) as PropertySchema;
  if (items.type === "number" || items.type === "integer") return emptied(supply.numbers);
  const kind = kindOf(name, items);
  if (kind === "path") return emptied(supply.paths) ?? emptied(supply.quoted);
  if (kind === "url") return emptied(supply.urls) ?? emptied(supply.quoted);
  return items.type === "object" ? undefined : emptied(supply.quoted);
}

function kindOf(name: string, schema: PropertySchema): "zone" | "url" | "path" | "text" {
  const own = words(name).join(" ");
  if (/\b(?:time ?zone|tz)\b/.test(own)) return "zone";
  if (schema.format === "uri" || /\b(?:url|uri|link|href)s?\b/.test(own)) return "url";
  if (/\b(?:path|file|filename|dir|directory|folder|source|destination)s?\b/.test(own)) return "path";
  return "text";
}

function takeNumber(supply: Supply, type: "number" | "integer"): number | undefined {
  const index = supply.numbers.findIndex((each) => type === "number" || Number.isInteger(each));
  return index < 0 ? undefined : supply.numbers.splice(index, 1)[0];
}

function readBoolean(message: string): boolean | undefined {
  if (/\b(?:off|disable[ds]?|false|no|without)\b/i.test(message)) return false;
  return /\b(?:on|enable[ds]?|true|yes|with)\b/i.test(message) ? true : undefined;
}

function coerce(text: string, schema: PropertySchema): unknown {
  if (schema.type === "number" || schema.type === "integer")
    return Number.isFinite(Number(text)) ? Number(text) : undefined;
  if (schema.type === "boolean") return text === "true" ? true : text === "false" ? false : undefined;
  return schema.type === "array" ? text.split(",") : text;
}

function mentions(message: string, propertyName: string): boolean {
  const said = new Set(terms(message));
  return terms(propertyName).some((term) => said.has(term));
}

function emptied<T>(list: T[]): T[] | undefined {
  return list.length === 0 ? undefined : list.splice(0);
}

function drop<T>(list: T[], matches: (each: T) => boolean): void {
  const index = list.findIndex(matches);
  if (index >= 0) list.splice(index, 1);
}

function count(supply: Supply): number {
  return Object.values(supply).reduce((sum: number, list: unknown[]) => sum + list.length, 0);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
