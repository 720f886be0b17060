import assert from "node:assert/strict";
import test from "node:test";
import { StatusCode } from "@warren/mesh";
import * as fc from "fast-check";
import { deadlineWithin, now, remainingMs } from "../src/deadline.ts";
import { DEFAULT_WINDOW, type Window } from "../src/stream/credit.ts";
import { type Frame, FrameKind, parseFrame, sequenced } from "../src/stream/frame.ts";
import { Incoming } from "../src/stream/incoming.ts";
import { Outgoing } from "../src/stream/outgoing.ts";
import { payload } from "./hostile.ts";

fc.configureGlobal({ seed: 20_260_112 });

/** Small, so that ordinary messages are cut. */
const MOST_PAYLOAD = 20_000;

/** A writer whose frames a reader gets at once, and what is on the way. */
function wired() {
  const onTheWay = { frames: 0, bytes: 0, mostFrames: 0, mostBytes: 0 };
  const count = (frames: number, bytes: number): void => {
    onTheWay.frames += frames;
    onTheWay.bytes += bytes;
    onTheWay.mostFrames = Math.max(onTheWay.mostFrames, onTheWay.frames);
    onTheWay.mostBytes = Math.max(onTheWay.mostBytes, onTheWay.bytes);
  };
  const faults: unknown[] = [];
  const grants: Window[] = [];
  const incoming: Incoming = new Incoming({
    // Not within the frame that brought it: a grant travels, too.
    grant: (more) => {
      grants.push(more);
      queueMicrotask(() => {
        count(-more.frames, -more.bytes);
        outgoing.grant(more);
      });
    },
    onLeave: () => outgoing.stop(),
  });
  const outgoing = new Outgoing({
    window: DEFAULT_WINDOW,
    mostPayload: MOST_PAYLOAD,
    publish: (bytes) => {
      const frame = parseFrame(bytes) as Frame;
      const before = incoming.sequence;
      const fault = incoming.receive(frame);
      if (fault) faults.push(fault);
      if (frame.kind !== FrameKind.END)
        count((incoming.sequence - before) >>> 0, frame.kind === FrameKind.BATCH ? 0 : frame.payload.length);
    },
  });
  return { incoming, outgoing, faults, onTheWay };
}

const size = fc.oneof(
  { weight: 6, arbitrary: fc.nat({ max: 300 }) },
  { weight: 2, arbitrary: fc.integer({ min: 10_000, max: 20_001 }) },
  { weight: 1, arbitrary: fc.integer({ min: 30_000, max: 400_000 }) },
);

test("whatever is written is read, once, whole and in order, however slowly, and no more is on the way than was granted", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(size, { minLength: 1, maxLength: 120, size: "max" }),
      fc.integer({ min: 1, max: 40 }),
      async (sizes, patience) => {
        const { incoming, outgoing, faults, onTheWay } = wired();
        const writing = (async () => {
          for (const [i, length] of sizes.entries()) {
            const message = Buffer.alloc(length, i % 251);
            const room = outgoing.write(message);
            if (room) assert.equal(await room, true);
          }
          outgoing.end();
        })();
        let read = 0;
        for await (const message of incoming) {
          assert.equal(message.length, sizes[read]);
          assert.ok(message.length === 0 || (message[0] === read % 251 && message.at(-1) === read % 251));
          read += 1;
          if (read % patience === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        await writing;
        assert.equal(read, sizes.length);
        assert.deepEqual(faults, []);
        assert.ok(onTheWay.mostFrames <= DEFAULT_WINDOW.frames);
      },
    ),
    { numRuns: 30 },
  );
});

test("many small messages fill the window and no more, until the reader takes some", async () => {
  const { incoming, outgoing, onTheWay } = wired();
  let written = 0;
  const writing = (async () => {
    for (; written < 3 * DEFAULT_WINDOW.frames; written++) await outgoing.write(Buffer.from("m"));
    outgoing.end();
  })();
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(written, DEFAULT_WINDOW.frames);
  let read = 0;
  for await (const _ of incoming) read += 1;
  await writing;
  assert.equal(read, 3 * DEFAULT_WINDOW.frames);
  assert.ok(onTheWay.mostFrames <= DEFAULT_WINDOW.frames);
});

test("a message that waits when its stream is halted is not sent, and the writer knows", async () => {
  const { incoming, outgoing } = wired();
  for (let i = 0; i < DEFAULT_WINDOW.frames; i++) assert.equal(outgoing.write(Buffer.from("m")), undefined);
  for (const large of [false, true]) {
    const room = outgoing.write(Buffer.alloc(large ? 50_000 : 5));
    outgoing.halt();
    assert.equal(await room, false);
    assert.equal(incoming.sequence, DEFAULT_WINDOW.frames);
    outgoing.proceed();
  }
});

test("the sequence on the wire starts over after 32 bits", () => {
  assert.equal(parseFrame(sequenced(FrameKind.DATA, 2 ** 32 - 1, new Uint8Array()))?.sequence, 2 ** 32 - 1);
  assert.equal(parseFrame(sequenced(FrameKind.DATA, 2 ** 32, new Uint8Array()))?.sequence, 0);
});

test("whatever frames come, a reader of requests names a fault of the writer, and yields what was whole before it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(payload, { maxLength: 30 }), async (noise) => {
      const incoming = new Incoming({ grant: () => undefined, onLeave: () => undefined });
      for (const bytes of noise) {
        const frame = parseFrame(bytes);
        const fault = frame && incoming.receive(frame);
        if (!fault) continue;
        assert.ok(fault.code === StatusCode.DATA_LOSS || fault.code === StatusCode.RESOURCE_EXHAUSTED);
        break;
      }
      incoming.end();
      for await (const message of incoming) assert.ok(message.length < 100);
    }),
  );
});

test("a deadline is the earlier of two, and what remains of it is never negative nor more than was given", () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 1e9 }),
      fc.option(fc.integer({ min: -1e9, max: 1e9 }), { nil: undefined }),
      (ms, offset) => {
        const before = now();
        const given = offset === undefined ? undefined : before + offset;
        const deadline = deadlineWithin(ms, given);
        const after = now();
        assert.ok(deadline <= after + ms);
        if (given === undefined) assert.ok(deadline >= before + ms);
        else assert.ok(deadline <= given && (deadline === given || deadline >= before + ms));
        const left = remainingMs(deadline);
        assert.ok(left >= 0 && left <= ms);
      },
    ),
  );
});
