// What of a method's contract both sides must agree on, as one text: kinds of streams, and the fields of every message that
// it can carry. Names of messages, comments and rules that only one side applies are left out.
import { createHash } from "node:crypto";
import { type DescField, type DescMessage, type DescMethod, getOption, ScalarType } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { FieldRules, RpcOptions } from "@warren/proto/warren/options/v1/options";
import { extension } from "./registry.ts";

/** A field on the wire. */
export interface FieldShape {
  readonly number: number;
  readonly name: string;
  /** `int32`, `string`, `enum`, `map`, or `.` and the name of a message. */
  readonly type: string;
  readonly list: boolean;
  /** A message without it is refused. */
  readonly required: boolean;
}

/** A method on the wire. */
export interface MethodShape {
  readonly requestStreaming: boolean;
  readonly streaming: boolean;
  readonly everyReplica: boolean;
  readonly idempotent: boolean;
  /** Names of the messages, in {@link messages}. */
  readonly input: string;
  readonly output: string;
  readonly messages: Readonly<Record<string, readonly FieldShape[]>>;
}

const rpcOption = extension("warren.options.v1.rpc");
const fieldOption = extension("warren.options.v1.field");
/** Characters of a hash: 48 bits, against accidents, not against attacks. */
const HASH_LENGTH = 8;

/** The shape of a method. */
export function shapeOf(method: DescMethod): MethodShape {
  const rpc = getOption(method, rpcOption) as unknown as RpcOptions | undefined;
  const messages: Record<string, FieldShape[]> = {};
  const add = (message: DescMessage): void => {
    if (messages[message.typeName]) return;
    messages[message.typeName] = message.fields.map(fieldShape).toSorted((one, other) => one.number - other.number);
    for (const field of message.fields) for (const held of messagesIn(field)) add(held);
  };
  add(method.input);
  add(method.output);
  return {
    requestStreaming: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
    streaming: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
    everyReplica: rpc?.everyReplica ?? false,
    idempotent: method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN,
    input: method.input.typeName,
    output: method.output.typeName,
    messages: Object.fromEntries(Object.entries(messages).toSorted(([one], [other]) => (one < other ? -1 : 1))),
  };
}

/** A shape in few letters: two that are equal have the same. */
export function hashOf(shape: MethodShape): string {
  return createHash("sha256").update(JSON.stringify(shape)).digest("base64url").slice(0, HASH_LENGTH);
}

function fieldShape(field: DescField): FieldShape {
  const rules = getOption(field, fieldOption) as unknown as FieldRules | undefined;
  return {
    number: field.number,
    name: field.name,
    type: typeOf(field),
    list: field.fieldKind === "list",
    required: rules?.required ?? false,
  };
}

function typeOf(field: DescField): string {
  if (field.fieldKind === "map") {
    const value = field.message ? `.${field.message.typeName}` : field.enum ? "enum" : scalar(field.scalar);
    return `map<${scalar(field.mapKey)},${value}>`;
  }
  if (field.message) return `.${field.message.typeName}`;
  return field.enum ? "enum" : scalar(field.scalar);
}

function scalar(type: ScalarType | undefined): string {
  return (type === undefined ? undefined : ScalarType[type]?.toLowerCase()) ?? "unknown";
}

function messagesIn(field: DescField): DescMessage[] {
  return field.message ? [field.message] : [];
}
