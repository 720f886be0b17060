import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { PayloadError } from "../../src/vault/errors.ts";
import { joinFrames, splitFrames } from "../../src/vault/frames.ts";

const parts = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 12 });

test("what is joined is split into the same parts", () => {
  fc.assert(
    fc.property(parts, (some) => {
      assert.deepEqual(
        splitFrames(joinFrames(some)),
        some.map((part) => Buffer.from(part)),
      );
    }),
  );
});

test("arbitrary bytes are split into parts that fit, or refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const input = Uint8Array.from([1, ...bytes]);
      try {
        assert.deepEqual(joinFrames(splitFrames(input)), Buffer.from(input));
      } catch (error) {
        assert.ok(error instanceof PayloadError && error.code === "truncated");
      }
    }),
  );
});

test("an empty entry and one of a later format are refused", () => {
  assert.throws(
    () => splitFrames(new Uint8Array()),
    (error) => error instanceof PayloadError && error.code === "truncated",
  );
  assert.throws(
    () => splitFrames(Uint8Array.from([2])),
    (error) => error instanceof PayloadError && error.code === "unsupported_version",
  );
});
