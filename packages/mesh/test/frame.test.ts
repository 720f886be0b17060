import assert from "node:assert/strict";
import test from "node:test";
import * as fc from "fast-check";
import { batch, credit, FrameKind, parseFrame, plain, sequenced, unbatch } from "../src/stream/frame.ts";

fc.configureGlobal({ seed: 20_260_106 });

const payload = fc.uint8Array({ maxLength: 100 });
const word = fc.nat({ max: 0xffff_ffff });

test("frames come back as they went", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(FrameKind.DATA, FrameKind.MORE, FrameKind.END),
      word,
      payload,
      (kind, sequence, data) => {
        const frame = parseFrame(sequenced(kind, sequence, data));
        assert.deepEqual([frame?.kind, frame?.sequence, [...(frame?.payload ?? [])]], [kind, sequence, [...data]]);
      },
    ),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(FrameKind.ACK, FrameKind.ERROR, FrameKind.ALIVE, FrameKind.CANCEL),
      payload,
      (kind, data) => {
        const frame = parseFrame(plain(kind, data));
        assert.deepEqual([frame?.kind, [...(frame?.payload ?? [])]], [kind, [...data]]);
      },
    ),
  );
  fc.assert(
    fc.property(word, word, (frames, bytes) => {
      const frame = parseFrame(credit(frames, bytes));
      assert.deepEqual([frame?.kind, frame?.frames, frame?.bytes], [FrameKind.CREDIT, frames, bytes]);
    }),
  );
});

test("sequence numbers start over after the last", () => {
  assert.equal(parseFrame(sequenced(FrameKind.DATA, 2 ** 32 - 1, new Uint8Array()))?.sequence, 2 ** 32 - 1);
  assert.equal(parseFrame(sequenced(FrameKind.DATA, 2 ** 32, new Uint8Array()))?.sequence, 0);
});

test("any bytes are a frame or none, wherever they lie in memory: never an exception", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20 }), fc.nat({ max: 8 }), (bytes, offset) => {
      const memory = new Uint8Array(offset + bytes.length + 3).fill(0xff);
      memory.set(bytes, offset);
      const frame = parseFrame(memory.subarray(offset, offset + bytes.length));
      assert.deepEqual(frame && { ...frame, payload: [...frame.payload] }, expected(bytes));
    }),
    { numRuns: 3000 },
  );
});

/** The same read slowly. */
function expected(bytes: Uint8Array): object | undefined {
  const kind = bytes[0] ?? 0;
  const number = (at: number): number => [0, 1, 2, 3].reduce((sum, i) => sum * 256 + (bytes[at + i] ?? 0), 0);
  const none = { kind, sequence: 0, frames: 0, bytes: 0 };
  if (kind < 1 || kind > 9) return undefined;
  if (kind === 7)
    return bytes.length < 9
      ? undefined
      : { ...none, frames: number(1), bytes: number(5), payload: [...bytes.slice(9)] };
  if ((kind >= 2 && kind <= 4) || kind === 9)
    return bytes.length < 5 ? undefined : { ...none, sequence: number(1), payload: [...bytes.slice(5)] };
  return { ...none, payload: [...bytes.slice(1)] };
}

test("a batch gives back its messages, whatever they are; what is cut short is none", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 20 }),
      fc.nat(0xffff_ffff),
      fc.nat(),
      (messages, first, cut) => {
        const bytes = batch(first, messages);
        const frame = parseFrame(bytes);
        assert.deepEqual([frame?.kind, frame?.sequence], [FrameKind.BATCH, first]);
        assert.deepEqual(
          unbatch(frame?.payload ?? new Uint8Array())?.map((each) => [...each]),
          messages.map((each) => [...each]),
        );
        const short = (frame?.payload ?? new Uint8Array()).subarray(0, cut % (frame?.payload.length ?? 1));
        const left = unbatch(short);
        assert.ok(left === undefined || left.length < messages.length);
      },
    ),
  );
});
