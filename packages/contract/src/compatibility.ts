// Whether a caller and a service that know different versions of a method understand each other: the rules of protobuf's
// wire format (https://protobuf.dev/programming-guides/proto3/#updating), message by message, each in the direction in
// which it travels. Versions that differ otherwise run side by side.
import type { FieldShape, MethodShape } from "./shape.ts";

/** Types that are one another's on the wire; a value that does not fit is cut. */
const EXCHANGEABLE = [
  ["int32", "uint32", "int64", "uint64", "bool", "enum"],
  ["sint32", "sint64"],
  ["fixed32", "sfixed32"],
  ["fixed64", "sfixed64"],
] as const satisfies string[][];

/** Why a caller of the one shape cannot call a service of the other, in words for people; empty when it can. */
export function incompatibilities(caller: MethodShape, service: MethodShape): string[] {
  const found: string[] = [];
  for (const kind of ["requestStreaming", "streaming", "everyReplica"] as const)
    if (caller[kind] !== service[kind]) found.push(`${kind} is ${caller[kind]} at the caller, ${service[kind]} here`);
  if (caller.idempotent && !service.idempotent) found.push("the caller makes calls again that are not idempotent here");
  const compared = new Set<string>();
  const compare = (from: MethodShape, name: string, to: MethodShape, other: string, what: string): void => {
    const pair = `${what}:${name}>${other}`;
    if (compared.has(pair)) return;
    compared.add(pair);
    const sent = new Map((from.messages[name] ?? []).map((field) => [field.number, field]));
    for (const field of to.messages[other] ?? []) {
      const own = sent.get(field.number);
      const path = `${what} ${other}.${field.name}`;
      if (own) found.push(...mismatch(own, field, path));
      // A rule for a field that the sender never sets would refuse each message.
      else if (field.required && from === caller) found.push(`${path} is required, and the caller does not know it`);
      const [mine, theirs] = [own && messageIn(own), messageIn(field)];
      if (mine !== undefined && theirs !== undefined) compare(from, mine, to, theirs, what);
    }
  };
  compare(caller, caller.input, service, service.input, "request");
  compare(service, service.output, caller, caller.output, "answer");
  return found;
}

function mismatch(sent: FieldShape, read: FieldShape, path: string): string[] {
  if (!fits(sent.type, read.type))
    return [`${path} is ${bare(sent.type)} as it is sent, ${bare(read.type)} as it is read`];
  // One value is a list of one; of many only the last would be read.
  return sent.list && !read.list ? [`${path} is a list as it is sent, one value as it is read`] : [];
}

function fits(sent: string, read: string): boolean {
  if (sent === read || (sent === "string" && read === "bytes")) return true;
  const [one, other] = [mapOf(sent), mapOf(read)];
  if (one && other) return fits(one.key, other.key) && fits(one.value, other.value);
  // Messages may change their names; what they hold is compared.
  if (sent.startsWith(".") && read.startsWith(".")) return true;
  return EXCHANGEABLE.some((types: readonly string[]) => types.includes(sent) && types.includes(read));
}

function mapOf(type: string): { key: string; value: string } | undefined {
  const [, key, value] = /^map<([^,]+),(.+)>$/.exec(type) ?? [];
  return key !== undefined && value !== undefined ? { key, value } : undefined;
}

/** The message that a field holds, by name. */
function messageIn({ type }: FieldShape): string | undefined {
  const held = mapOf(type)?.value ?? type;
  return held.startsWith(".") ? held.slice(1) : undefined;
}

function bare(type: string): string {
  return type.startsWith(".") ? "a message" : type;
}
