// Writes protobuf messages with one buffer that is used again: a new one, which grows as it goes, costs more than the message.
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { MessageType } from "./definition.ts";

/** A buffer that a message has made larger than this is not kept. */
const LARGEST_KEPT = 1 << 16;

/** Writes messages one after the other. */
export class MessageWriter {
  readonly #newWriter: () => BinaryWriter;
  #writer: BinaryWriter;

  constructor(newWriter = (): BinaryWriter => new BinaryWriter()) {
    this.#newWriter = newWriter;
    this.#writer = newWriter();
  }

  /** Why messages are written the slower way, with a buffer for each; empty: they are not. */
  get slowerPaths(): string[] {
    return isOpen(this.#writer)
      ? []
      : ["each message is written into a new buffer: BinaryWriter has no buffer and pos inside"];
  }

  /** A message as bytes of its own. */
  encode(type: MessageType<object, object>, message: object): Uint8Array {
    // Whatever is thrown in the middle leaves half a message behind.
    const writer = this.#writer;
    this.#writer = undefined as never;
    try {
      const bytes = taken(type.encode(message, writer) as BinaryWriter);
      this.#writer = bytes.length > LARGEST_KEPT ? this.#newWriter() : writer;
      return bytes;
    } finally {
      this.#writer ??= this.#newWriter();
    }
  }
}

/** What the writer of @bufbuild/protobuf 2 has inside. */
interface Inside {
  buffer: Uint8Array;
  pos: number;
}

function isOpen(writer: unknown): writer is Inside {
  const { buffer, pos } = writer as Partial<Inside>;
  return buffer instanceof Uint8Array && typeof pos === "number";
}

/** What was written, in a pooled buffer: `finish` makes an ArrayBuffer for each message. */
function taken(writer: BinaryWriter): Uint8Array {
  const inside: unknown = writer;
  if (!isOpen(inside)) return writer.finish();
  const bytes = Buffer.allocUnsafe(inside.pos);
  bytes.set(inside.buffer.subarray(0, inside.pos));
  inside.pos = 0;
  return bytes;
}
