// Writes protobuf messages with one buffer that is used again: a new one, which grows as it goes, costs more than the message.
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { MessageType } from "./definition.ts";

/** A buffer that a message has made larger than this is not kept. */
const LARGEST_KEPT = 1 << 16;

/** Writes messages one after the other. */
export class MessageWriter {
  #writer = new BinaryWriter();

  /** A message as bytes of its own. */
  encode(type: MessageType<object, object>, message: object): Uint8Array {
    // Whatever is thrown in the middle leaves half a message behind.
    const writer = this.#writer;
    this.#writer = undefined as never;
    try {
      const bytes = type.encode(message, writer).finish();
      this.#writer = bytes.length > LARGEST_KEPT ? new BinaryWriter() : writer;
      return bytes;
    } finally {
      this.#writer ??= new BinaryWriter();
    }
  }
}
