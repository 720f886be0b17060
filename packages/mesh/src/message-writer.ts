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
      const bytes = taken(type.encode(message, writer) as BinaryWriter);
      this.#writer = bytes.length > LARGEST_KEPT ? new BinaryWriter() : writer;
      return bytes;
    } finally {
      this.#writer ??= new BinaryWriter();
    }
  }
}

/** What the writer has inside, where it is of the version that this was written for. */
interface Inside {
  buffer?: Uint8Array;
  pos?: number;
}

/** What was written, in a pooled buffer: `finish` makes an ArrayBuffer for each message. */
function taken(writer: BinaryWriter): Uint8Array {
  const inside = writer as unknown as Inside;
  const { buffer, pos } = inside;
  if (!(buffer instanceof Uint8Array) || typeof pos !== "number") return writer.finish();
  const bytes = Buffer.allocUnsafe(pos);
  bytes.set(buffer.subarray(0, pos));
  inside.pos = 0;
  return bytes;
}
