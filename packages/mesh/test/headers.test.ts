import assert from "node:assert/strict";
import test from "node:test";
import { StatusCode } from "@warren/mesh";
import * as fc from "fast-check";
import { ERROR_CODE_HEADER, ERROR_HEADER, errorHeaders, packCall, unpackCall } from "../src/headers.ts";
import { anyText } from "./hostile.ts";

fc.configureGlobal({ seed: 20_260_103 });

test("what a call carries comes back as it went", () => {
  const key = fc.oneof(fc.constant(undefined), fc.string({ unit: "grapheme", minLength: 1, maxLength: 30 }));
  const call = fc
    .tuple(fc.nat(), fc.integer({ min: 1, max: 4 }), key, fc.constantFrom(undefined, "abcdefgh", "abcd-_gh,ijklmnop"))
    .map(([remainingMs, attempt, idempotencyKey, contracts]) => ({ remainingMs, attempt, idempotencyKey, contracts }));
  fc.assert(
    fc.property(call, (header) => {
      const packed = packCall(header);
      assert.match(packed, /^[\x21-\x7e]+$/);
      assert.deepEqual(unpackCall(packed), header);
    }),
  );
});

test("time is never rounded away, and a time without end is still a number", () => {
  const unpacked = (remainingMs: number) =>
    unpackCall(packCall({ remainingMs, attempt: 1, idempotencyKey: undefined }));
  assert.equal(unpacked(0.2)?.remainingMs, 1);
  assert.equal(unpacked(0)?.remainingMs, 0);
  assert.equal(unpacked(Number.POSITIVE_INFINITY)?.remainingMs, 9_999_999_999);
});

test("a key that cannot travel is refused, not dropped", () => {
  const pack = (idempotencyKey: string) => packCall({ remainingMs: 1, attempt: 1, idempotencyKey });
  assert.equal(unpackCall(pack("k".repeat(512)))?.idempotencyKey?.length, 512);
  assert.throws(() => pack("k".repeat(513)), { code: StatusCode.INVALID_ARGUMENT });
  assert.throws(() => pack("é".repeat(200)), { code: StatusCode.INVALID_ARGUMENT });
  assert.equal(unpackCall(pack("\ud800"))?.idempotencyKey, "\ufffd");
});

test("any other text is no call", () => {
  for (const bad of [
    "",
    ";",
    "1;1",
    "-1;1;",
    "1;1;a b",
    "1;1;%",
    "1;1;%zz",
    "1;1;%ff",
    "1.5;1;",
    "12345678901;1;",
    "1;1;a;b",
    "1;1;;",
    "1;1;;abcdefg!",
    "1;1;\n",
  ])
    assert.equal(unpackCall(bad), undefined, JSON.stringify(bad));
  assert.equal(unpackCall(undefined), undefined);
  fc.assert(
    fc.property(anyText(), (text) => {
      const call = unpackCall(text);
      if (call) assert.ok(Number.isSafeInteger(call.remainingMs) && Number.isSafeInteger(call.attempt));
    }),
  );
});

test("the headers of an error stand on one line each, whatever its message", () => {
  fc.assert(
    fc.property(anyText(400), fc.nat({ max: 16 }), (message, code) => {
      const headers = errorHeaders(code, message);
      assert.equal(headers.get(ERROR_CODE_HEADER), String(code));
      const text = headers.get(ERROR_HEADER);
      assert.match(text, /^[\x20-\x7e]*$/);
      assert.ok(text.length <= 256);
    }),
  );
});
