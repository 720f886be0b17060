// How values are kept: as protobuf messages, as JSON, or as they are.
import type { MessageType } from "../definition.ts";

/** Turns values into bytes and back. */
export interface Codec<T> {
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

/** Messages of a contract. */
export function protoCodec<T>(type: Pick<MessageType<T>, "encode" | "decode">): Codec<T> {
  return { encode: (value) => type.encode(value).finish(), decode: (bytes) => type.decode(bytes) };
}

/** Values as JSON. */
export function jsonCodec<T>(): Codec<T> {
  return {
    encode: (value) => Buffer.from(JSON.stringify(value)),
    decode: (bytes) => JSON.parse(Buffer.from(bytes).toString()) as T,
  };
}

/** Bytes as they are. */
export const bytesCodec: Codec<Uint8Array> = { encode: (value) => value, decode: (bytes) => bytes };
