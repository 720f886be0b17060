// Query parameters as fields of a request: coerced by the contract's types, strict about names and forms.
import { type DescField, type DescMessage, type JsonValue, ScalarType } from "@bufbuild/protobuf";
import { badRequest, type FieldError, invalidFields } from "./problem.ts";

/** Name and value of each parameter, decoded. @throws Problem 400 on a malformed percent-encoding. */
export function parseQuery(query: string): [name: string, value: string][] {
  if (query === "") return [];
  return query
    .split("&")
    .filter((part) => part !== "")
    .map((part) => {
      const [name = "", ...value] = part.split("=");
      return [decode(name), decode(value.join("="))];
    });
}

/**
 * The request that a query string describes, as JSON.
 * @throws Problem 400 naming each parameter that is unknown, repeated without being a list, or of the wrong type.
 */
export function queryToJson(type: DescMessage, query: string): Record<string, JsonValue> {
  const json: Record<string, JsonValue> = {};
  const errors: FieldError[] = [];
  for (const [name, value] of parseQuery(query)) {
    const field = type.fields.find((each) => each.jsonName === name || each.name === name);
    const coerced = field && coerce(field, value);
    if (!field) errors.push({ field: name.slice(0, 64), message: "is not a parameter of this request" });
    else if (coerced === undefined) errors.push({ field: name, message: `must be ${kindOf(field)}` });
    else if (field.fieldKind === "list")
      json[field.jsonName] = [...((json[field.jsonName] as JsonValue[] | undefined) ?? []), coerced];
    else if (field.jsonName in json) errors.push({ field: name, message: "is given more than once" });
    else json[field.jsonName] = coerced;
  }
  if (errors.length) throw invalidFields(errors);
  return json;
}

/** Undefined: not a value of the field. */
function coerce(field: DescField, value: string): JsonValue | undefined {
  if (field.fieldKind === "enum" || (field.fieldKind === "list" && field.listKind === "enum")) return value;
  const scalar =
    field.fieldKind === "scalar" || (field.fieldKind === "list" && field.listKind === "scalar")
      ? field.scalar
      : undefined;
  switch (scalar) {
    case undefined:
      // Timestamps and durations have a text form; the contract's own check says the rest.
      return field.fieldKind === "message" && /^google\.protobuf\.(Timestamp|Duration)$/.test(field.message.typeName)
        ? value
        : undefined;
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return value;
    case ScalarType.BOOL:
      return value === "true" ? true : value === "false" ? false : undefined;
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return /^-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?$/.test(value) ? Number(value) : undefined;
    default:
      return /^-?\d{1,20}$/.test(value) ? value : undefined;
  }
}

function kindOf(field: DescField): string {
  const scalar =
    field.fieldKind === "scalar" || (field.fieldKind === "list" && field.listKind === "scalar")
      ? field.scalar
      : undefined;
  if (scalar === undefined) return "given in a body: it is no parameter";
  if (scalar === ScalarType.BOOL) return "true or false";
  return scalar === ScalarType.DOUBLE || scalar === ScalarType.FLOAT ? "a number" : "a whole number";
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw badRequest("INVALID_URL", "The query string has a malformed percent-encoding");
  }
}
