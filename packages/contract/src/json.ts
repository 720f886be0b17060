// JSON ↔ protobuf by protobuf's own mapping: lowerCamelCase out, both forms in, defaults written, unknown fields refused.
import {
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { registry } from "./registry.ts";
import { type FieldViolation, violationsOf } from "./rules.ts";

/** Levels of JSON that are read: more in one request is an attack. */
const DEEPEST_JSON = 100;
/** A level of JSON in a Struct is three messages on the wire: what was read can always be written again. */
const DEEPEST_MESSAGE = 4 * DEEPEST_JSON;

/** JSON that is not a message of the contract. */
export class JsonMismatch extends Error {
  override readonly name = "JsonMismatch";
  /** What is wrong, field by field. */
  readonly violations: readonly FieldViolation[];
  constructor(found: readonly FieldViolation[]) {
    super(found.map(({ field, description }) => `${field || "the body"} ${description}`).join("; "));
    this.violations = found;
  }
}

/**
 * Reads a message from JSON and checks its field rules.
 * @throws JsonMismatch naming each field that is unknown, of the wrong type or against its rules.
 */
export function messageFromJson(type: DescMessage, json: JsonValue): Message {
  const message = parse(type, json);
  const found = violationsOf(type, message);
  if (found.length) throw new JsonMismatch(found);
  return message;
}

/** The bytes that travel over the mesh for a message read by {@link messageFromJson}. */
export function messageToBytes(type: DescMessage, message: Message): Uint8Array {
  return toBinary(type, message);
}

/** Writes a message that travelled over the mesh as JSON, every field of it, also those that hold their default. */
export function bytesToJson(type: DescMessage, bytes: Uint8Array): JsonValue {
  return toJson(type, fromBinary(type, bytes, { recursionLimit: DEEPEST_MESSAGE }), {
    alwaysEmitImplicit: true,
    registry,
  });
}

function parse(type: DescMessage, json: JsonValue): Message {
  try {
    const message = decode(type, json);
    const field = beyondNumbers(json, "");
    if (field === undefined) return message;
    throw new JsonMismatch([{ field, description: "is a number out of range" }]);
  } catch (error) {
    throw error instanceof JsonMismatch ? error : new JsonMismatch(locate(type, json, error));
  }
}

/** Without a registry: with one, the name of any extension (`[warren.options.v1.rpc]`) would pass for a field. */
function decode(type: DescMessage, json: JsonValue): Message {
  return fromJson(type, json, { recursionLimit: DEEPEST_JSON });
}

/** Where JSON holds a number that no double can hold, such as 1e400, which a Struct would take and never give back. */
function beyondNumbers(json: JsonValue, path: string): string | undefined {
  if (typeof json === "number") return Number.isFinite(json) ? undefined : path;
  if (typeof json !== "object" || json === null) return undefined;
  for (const [key, value] of Object.entries(json)) {
    const found = beyondNumbers(value, path ? `${path}.${key}` : key);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The library's message tells one failure, without a path: decode each key alone to name every wrong field. */
function locate(type: DescMessage, json: JsonValue, error: unknown, prefix = ""): FieldViolation[] {
  if (typeof json !== "object" || json === null || Array.isArray(json))
    return [{ field: prefix.slice(0, -1), description: "must be a JSON object" }];
  const found = Object.entries(json).flatMap(([key, value]): FieldViolation[] => {
    const field = type.fields.find((each) => each.jsonName === key || each.name === key);
    if (!field) return [{ field: prefix + key, description: "is not a field of this request" }];
    try {
      decode(type, { [key]: value });
      return [];
    } catch (cause) {
      if (field.fieldKind === "message" && !field.message.typeName.startsWith("google."))
        return locate(field.message, value, cause, `${prefix + key}.`);
      return [{ field: prefix + key, description: `must be ${kindOf(field)}` }];
    }
  });
  return found.length ? found : [{ field: prefix.slice(0, -1), description: reason(error) }];
}

const scalarNames: Readonly<Record<number, string>> = {
  1: "a number",
  2: "a number",
  8: "true or false",
  9: "a string",
  12: "base64",
};

function scalarName(type: number): string {
  return scalarNames[type] ?? "a whole number in range";
}

function kindOf(field: DescMessage["fields"][number]): string {
  if (field.fieldKind === "list")
    return field.listKind === "scalar" ? `a list, each entry ${scalarName(field.scalar)}` : "a list";
  if (field.fieldKind === "map") return "an object";
  if (field.fieldKind === "enum") return `one of ${field.enum.values.map((value) => value.name).join(", ")}`;
  if (field.fieldKind === "scalar") return scalarName(field.scalar);
  return field.message.typeName === "google.protobuf.Struct" ? "a JSON object" : `a ${field.message.name}`;
}

function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : "";
  return text.includes("oneof") ? "sets two fields of which only one may be set" : "is not valid for this request";
}
