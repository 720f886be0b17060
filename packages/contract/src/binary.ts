// Messages that come from outside as protobuf: decoded, checked like JSON is, and written anew.
import { type DescMessage, fromBinary, type Message } from "@bufbuild/protobuf";
import { type FieldViolation, violationsOf } from "./rules.ts";

/** Levels of messages that are read: a level of JSON in a Struct is three. */
const DEEPEST = 200;
/** Names that reach for prototypes, wherever an object is made of what was sent. */
const FORBIDDEN: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

/** Bytes that are not a message of the contract. */
export class BytesMismatch extends Error {
  override readonly name = "BytesMismatch";
  /** What is wrong, field by field; empty: they are no protobuf at all. */
  readonly violations: readonly FieldViolation[];
  constructor(found: readonly FieldViolation[]) {
    const texts = found.map(({ field, description }) => `${field || "the request"} ${description}`);
    super(texts.join("; ") || "the request is not a message of this method");
    this.violations = found;
  }
}

/**
 * Reads a message and checks its field rules. Fields that the contract does not know are left out, so that nothing
 * travels on that was not checked.
 * @throws BytesMismatch naming each field against its rules.
 */
export function messageFromBytes(type: DescMessage, bytes: Uint8Array): Message {
  let message: Message;
  try {
    message = fromBinary(type, bytes, { readUnknownFields: false, recursionLimit: DEEPEST });
  } catch {
    throw new BytesMismatch([]);
  }
  const found: FieldViolation[] = [...violationsOf(type, message)];
  const unsafe = unsafeIn(message, "");
  if (unsafe) found.push(unsafe);
  if (found.length) throw new BytesMismatch(found);
  return message;
}

/** What JSON could not have said: a number that is none, or a key that JSON bodies may not have. */
function unsafeIn(value: unknown, path: string): FieldViolation | undefined {
  if (typeof value === "number" && !Number.isFinite(value))
    return { field: path, description: "is a number out of range" };
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return undefined;
  for (const [key, item] of Object.entries(value)) {
    if (key === "$typeName") continue;
    const field = path ? `${path}.${key}` : key;
    if (FORBIDDEN.has(key)) return { field, description: "is not an allowed key" };
    const found = unsafeIn(item, field);
    if (found) return found;
  }
  return undefined;
}
