// What a hostile or broken peer may send: arbitrary bytes, headers and frames.
import * as fc from "fast-check";
import { CALLER_HEADER, RPC_HEADER, STREAM_HEADER } from "../src/headers.ts";

/** Any text, also what is no well-formed one. By UTF-16 units: fast-check's own takes seconds to learn all of Unicode. */
export function anyText(maxLength = 20): fc.Arbitrary<string> {
  const unit = fc.oneof(fc.nat({ max: 0x7f }), fc.nat({ max: 0xffff }));
  return fc.array(unit, { maxLength }).map((units) => String.fromCharCode(...units));
}

const junk = anyText(40);
const lineText = fc.oneof(
  junk,
  fc.constantFrom("1;1;", "500;1;%zz", "99999999999;1;", "1;1", "0;0", "256;1048576", ""),
);
const names = fc.constantFrom(
  RPC_HEADER,
  CALLER_HEADER,
  STREAM_HEADER,
  "traceparent",
  "bad name",
  "x\ty",
  "Nats-Service-Error-Code",
);

/** Header blocks: well formed, malformed, and no header at all. */
export const headerText: fc.Arbitrary<string> = fc.oneof(
  fc.array(fc.tuple(names, lineText), { maxLength: 5 }).map((lines) => {
    const block = lines.map(([name, text]) => `${name}: ${text}`).join("\r\n");
    return `NATS/1.0\r\n${block}\r\n\r\n`;
  }),
  fc.constantFrom(
    "NATS/1.0 503\r\n\r\n",
    "NATS/1.0\r\nbad name: x\r\n\r\n",
    "NATS/1.0\r\nA: b\nc\r\n\r\n",
    "junk",
    "\r\n\r\n",
  ),
  junk,
);

/** Payloads: random bytes, frames and what looks like messages. */
export const payload: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc
    .tuple(fc.integer({ min: 0, max: 9 }), fc.uint8Array({ maxLength: 12 }))
    .map(([kind, rest]) => Uint8Array.of(kind, ...rest)),
  fc.string({ maxLength: 20 }).map((text) => Uint8Array.of(10, Buffer.byteLength(text), ...Buffer.from(text))),
);
