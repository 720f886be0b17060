import assert from "node:assert/strict";
import test from "node:test";
import * as fc from "fast-check";
import { CreditBalance, CreditMeter, packWindow, unpackWindow, type Window } from "../src/stream/credit.ts";

fc.configureGlobal({ seed: 20_260_105 });

const window = fc
  .tuple(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 5000 }))
  .map(([frames, bytes]): Window => ({ frames, bytes }));

/** One step of a stream: the writer sends a frame of so many bytes, the reader consumes one, or a grant arrives. */
const step = fc.oneof(
  fc.nat({ max: 2000 }).map((bytes) => ({ kind: "send" as const, bytes })),
  fc.constant({ kind: "consume" as const }),
  fc.constant({ kind: "grant" as const }),
);

/** A writer and a reader with what is on the way between them, both ways. */
class Stream {
  readonly frames: number[] = [];
  readonly grants: Window[] = [];
  readonly balance: CreditBalance;
  readonly meter: CreditMeter;
  sent = 0;
  consumed = 0;

  constructor(of: Window) {
    this.balance = new CreditBalance(of);
    this.meter = new CreditMeter(of);
  }

  send(bytes: number): boolean {
    if (!this.balance.open) return false;
    this.balance.spend(bytes);
    this.frames.push(bytes);
    this.sent += 1;
    return true;
  }

  consume(): boolean {
    const bytes = this.frames.shift();
    if (bytes === undefined) return false;
    this.consumed += 1;
    const grant = this.meter.consume(bytes);
    if (grant) this.grants.push(grant);
    return true;
  }

  grant(): boolean {
    const grant = this.grants.shift();
    if (grant) this.balance.grant(grant);
    return grant !== undefined;
  }
}

test("a window travels as a header, and no other text is one", () => {
  fc.assert(fc.property(window, (of) => assert.deepEqual(unpackWindow(packWindow(of)), of)));
  for (const bad of [
    undefined,
    "",
    "1",
    "0;1",
    "1;0",
    "-1;1",
    "1;1;1",
    "1.5;1",
    " 1;1",
    "1234567;1",
    "1;1234567890",
    "1;1\n",
  ])
    assert.equal(unpackWindow(bad), undefined, bad);
});

test("what is not consumed never exceeds the window in frames, nor in bytes by more than one frame", () => {
  fc.assert(
    fc.property(window, fc.array(step, { maxLength: 1500, minLength: 50, size: "max" }), (of, steps) => {
      const stream = new Stream(of);
      for (const next of steps) {
        if (next.kind === "send") stream.send(next.bytes);
        else if (next.kind === "consume") stream.consume();
        else stream.grant();
        assert.ok(stream.frames.length <= of.frames);
        const bytes = stream.frames.reduce((sum, each) => sum + each, 0);
        const last = stream.frames.at(-1) ?? 0;
        assert.ok(bytes - last < of.bytes, `${bytes} bytes are on the way, ${of.bytes} are allowed`);
      }
    }),
    { numRuns: 200 },
  );
});

test("a writer is never stuck once its reader has consumed everything", () => {
  fc.assert(
    fc.property(window, fc.array(fc.nat({ max: 20_000 }), { maxLength: 300, size: "max" }), (of, sizes) => {
      const stream = new Stream(of);
      for (const bytes of sizes) {
        if (stream.send(bytes)) continue;
        while (stream.consume()) continue;
        while (stream.grant()) continue;
        assert.ok(stream.send(bytes), "everything was consumed, and still there is no credit");
      }
    }),
  );
});

test("a wait ends with the grant that opens the window, or with a release", async () => {
  const balance = new CreditBalance({ frames: 1, bytes: 10 });
  await balance.whenOpen();
  balance.spend(50);
  let open = false;
  const waiting = balance.whenOpen().then(() => (open = true));
  balance.grant({ frames: 1, bytes: 40 });
  await Promise.resolve();
  assert.equal(open, false, "ten bytes more than granted were sent: the window is still closed");
  balance.grant({ frames: 0, bytes: 1 });
  assert.equal(await waiting, true);
  balance.spend(1);
  const released = balance.whenOpen();
  balance.release();
  await released;
  assert.equal(balance.open, false);
});
