import assert from "node:assert/strict";
import test from "node:test";
import { RpcError, StatusCode, type StatusDetails, statusName } from "@warren/mesh";
import * as fc from "fast-check";
import { decodeStatus, encodeStatus, toRpcError } from "../src/status.ts";
import { anyText } from "./hostile.ts";

fc.configureGlobal({ seed: 20_260_104 });

const text = fc.string({ unit: "grapheme" });
const name = fc.string({ minLength: 1 });
const details = fc.record(
  {
    violations: fc.array(fc.record({ field: text, description: text }, { noNullPrototype: true }), { minLength: 1 }),
    retryAfterMs: fc.nat(),
    reason: name,
    metadata: fc.dictionary(
      name.filter((key) => key !== "__proto__"),
      text,
      { minKeys: 1, noNullPrototype: true },
    ),
  },
  { requiredKeys: ["reason"], noNullPrototype: true },
) as fc.Arbitrary<StatusDetails>;
const codes = Object.values(StatusCode).filter((code) => code !== StatusCode.OK);

test("an error comes back from the wire with its code, its message and its details", () => {
  fc.assert(
    fc.property(fc.constantFrom(...codes), text, details, (code, message, more) => {
      const back = decodeStatus(encodeStatus(new RpcError(code, message, more)));
      assert.deepEqual([back.code, back.message, back.details], [code, message, more]);
    }),
  );
});

test("any error can be written: a handler's odd numbers and texts do not leave its caller without an answer", () => {
  const odd = fc.oneof(fc.double(), fc.constantFrom(0.1, 333.3, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e300));
  fc.assert(
    fc.property(odd, anyText(), (retryAfterMs, message) => {
      const back = decodeStatus(
        encodeStatus(new RpcError(StatusCode.UNAVAILABLE, `${message}\ud800`, { retryAfterMs })),
      );
      assert.equal(back.code, StatusCode.UNAVAILABLE);
      const told = back.details.retryAfterMs ?? -1;
      assert.ok(Number.isSafeInteger(told) && told >= 0);
      if (retryAfterMs > 0 && retryAfterMs < 1e9) assert.equal(told, Math.ceil(retryAfterMs));
    }),
  );
});

test("any bytes are read as an error, never as a success and never with an exception", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const read = decodeStatus(bytes);
      assert.ok(read instanceof RpcError);
      assert.notEqual(read.code, StatusCode.OK);
    }),
    { numRuns: 2000 },
  );
});

test("a damaged error is still an error", () => {
  const whole = encodeStatus(new RpcError(StatusCode.NOT_FOUND, "gone", { reason: "GONE", retryAfterMs: 5 }));
  fc.assert(
    fc.property(fc.nat({ max: whole.length - 1 }), fc.nat({ max: 255 }), (at, byte) => {
      const damaged = Uint8Array.from(whole);
      damaged[at] = byte;
      assert.notEqual(decodeStatus(damaged).code, StatusCode.OK);
    }),
  );
});

test("an exception of a handler is told by an id alone; what it said goes to the log", () => {
  const reported: unknown[] = [];
  const thrown = new TypeError("the password is hunter2");
  const error = toRpcError(thrown, (id, what) => reported.push(id, what));
  assert.equal(error.code, StatusCode.INTERNAL);
  assert.deepEqual(reported, [error.details.metadata?.["errorId"], thrown]);
  assert.doesNotMatch(JSON.stringify([error.message, error.details]), /hunter2/);
  const known = new RpcError(StatusCode.ABORTED, "lost");
  assert.equal(
    toRpcError(known, () => assert.fail("a known error is not reported")),
    known,
  );
  for (const odd of [undefined, null, "text", 0])
    assert.equal(toRpcError(odd, () => undefined).code, StatusCode.INTERNAL);
});

test("codes have gRPC's names; others are UNKNOWN", () => {
  assert.equal(statusName(StatusCode.DEADLINE_EXCEEDED), "DEADLINE_EXCEEDED");
  assert.equal(statusName(99), "UNKNOWN");
  assert.equal(decodeStatus(new Uint8Array([0x08, 99])).code, StatusCode.UNKNOWN);
});
