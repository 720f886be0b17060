// Several byte strings in one: a format byte, then each with its length before it as 32 bits, big-endian.
import { PayloadError } from "./errors.ts";

const FORMAT = 1;

/** Joins `parts`, in order. */
export function joinFrames(parts: readonly Uint8Array[]): Buffer {
  const joined = Buffer.alloc(parts.reduce((size, part) => size + 4 + part.length, 1));
  let offset = joined.writeUInt8(FORMAT, 0);
  for (const part of parts) {
    offset = joined.writeUInt32BE(part.length, offset);
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** Splits what `joinFrames` made, as views into `bytes`. Throws PayloadError when it is cut short or of another format. */
export function splitFrames(bytes: Uint8Array): Buffer[] {
  const joined = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (joined.length === 0) throw new PayloadError("truncated", "The entry is empty");
  if (joined[0] !== FORMAT) {
    const message = `The entry has format ${joined[0]}; this vault knows ${FORMAT}: run a version that knows it`;
    throw new PayloadError("unsupported_version", message);
  }
  const parts: Buffer[] = [];
  for (let offset = 1; offset < joined.length;) {
    const start = offset + 4;
    const end = start + (start <= joined.length ? joined.readUInt32BE(offset) : 0);
    if (end > joined.length) throw new PayloadError("truncated", `The entry ends within part ${parts.length}`);
    parts.push(joined.subarray(start, end));
    offset = end;
  }
  return parts;
}
