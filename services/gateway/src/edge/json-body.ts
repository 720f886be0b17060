// Request bodies: strict UTF-8, strict JSON, bounded depth, no keys that reach for prototypes.
import type { JsonValue } from "@bufbuild/protobuf";
import { badRequest, Problem } from "./problem.ts";
import { jsonErrorOffset } from "./json-position.ts";

/** Largest JSON body, in bytes. */
export const BODY_LIMIT = 1024 * 1024;
/** Deepest nesting: what protobuf implementations allow, give or take. */
const MOST_DEPTH = 64;
const FORBIDDEN: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/**
 * The value of a JSON body. An empty body is an empty object.
 * @throws Problem 400 that says where.
 */
export function parseJsonBody(bytes: Uint8Array): JsonValue {
  if (bytes.length === 0) return {};
  const text = decode(bytes);
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch {
    // The engine's message would repeat the body, which may hold a secret; and it does not always say where.
    const offset = jsonErrorOffset(text);
    const before = text.slice(0, offset).split("\n");
    const where = `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
    throw badRequest("INVALID_JSON", `The body is not JSON: it goes wrong at position ${offset} (${where})`);
  }
  inspect(value, "", 0);
  return value;
}

function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw badRequest("INVALID_JSON", "The body is not UTF-8");
  }
}

function inspect(value: JsonValue, path: string, depth: number): void {
  if (typeof value !== "object" || value === null) return;
  if (depth >= MOST_DEPTH) throw badRequest("INVALID_JSON", `The body is nested deeper than ${MOST_DEPTH} levels`);
  if (Array.isArray(value)) return value.forEach((item, i) => inspect(item, `${path}[${i}]`, depth + 1));
  for (const [key, item] of Object.entries(value)) {
    const field = path === "" ? key : `${path}.${key}`;
    if (FORBIDDEN.has(key))
      throw badRequest("FORBIDDEN_KEY", `The key ${key} is not allowed`, [{ field, message: "is not an allowed key" }]);
    inspect(item, field, depth + 1);
  }
}

/** A content type the route does not read. */
export function unsupportedMediaType(readable: readonly string[]): Problem {
  const accepted = readable.join(", ");
  return new Problem(415, {
    code: "UNSUPPORTED_MEDIA_TYPE",
    detail: `Send the body as ${accepted}`,
    headers: { accept: accepted },
  });
}

/** Whether a content type is JSON in UTF-8 (RFC 8259 §8.1 knows no other encoding). */
export function isJson(contentType: string): boolean {
  const [type = "", ...parameters] = contentType
    .toLowerCase()
    .split(";")
    .map((part) => part.trim());
  return type === "application/json" && parameters.every((each) => each === "" || /^charset="?utf-8"?$/.test(each));
}
