import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import * as fc from "fast-check";
import { type Binding, open, seal, sealedBy } from "../../src/vault/envelope.ts";
import { PayloadError, type PayloadErrorCode } from "../../src/vault/errors.ts";

const key = { id: "0123456789abcdef", key: randomBytes(32) };
const binding: Binding = { schema: "test/1", tenant: "default", name: "a.b", version: 3, uid: "u" };
const OVERHEAD = 38;

const bytes = fc.uint8Array({ maxLength: 300 });
const bindings = fc.record({
  schema: fc.string({ unit: "grapheme", maxLength: 10 }),
  tenant: fc.string({ unit: "grapheme", maxLength: 10 }),
  name: fc.string({ unit: "grapheme", maxLength: 10 }),
  version: fc.nat(2 ** 32 - 1),
  uid: fc.string({ maxLength: 10 }),
});

function failsWith(code: PayloadErrorCode) {
  return (error: unknown) => error instanceof PayloadError && error.code === code;
}

test("what is sealed opens again with the same key and binding", () => {
  fc.assert(
    fc.property(bytes, bindings, (plaintext, bound) => {
      const payload = seal(key, plaintext, bound);
      assert.equal(payload.length, plaintext.length + OVERHEAD);
      assert.equal(sealedBy(payload), key.id);
      assert.deepEqual(open(key, payload, bound), Buffer.from(plaintext));
    }),
  );
});

test("a payload opens with no other binding, however alike the two are when written side by side", () => {
  fc.assert(
    fc.property(bytes, bindings, bindings, (plaintext, one, other) => {
      fc.pre(JSON.stringify(one) !== JSON.stringify(other));
      assert.throws(() => open(key, seal(key, plaintext, one), other), failsWith("unauthentic"));
    }),
  );
  const shifted = { ...binding, tenant: "default|a", name: "b" };
  const payload = seal(key, Buffer.from("x"), { ...binding, tenant: "default", name: "a|b" });
  assert.throws(() => open(key, payload, shifted), failsWith("unauthentic"));
});

test("a payload with any one bit flipped does not open", () => {
  const payload = seal(key, Buffer.from("a secret value"), binding);
  for (let bit = 0; bit < payload.length * 8; bit += 1) {
    const flipped = Buffer.from(payload);
    flipped[bit >> 3] = payload[bit >> 3]! ^ (1 << (bit & 7));
    assert.throws(() => open(key, flipped, binding), PayloadError, `bit ${bit}`);
  }
});

test("a payload cut at any byte does not open", () => {
  const payload = seal(key, Buffer.from("a secret value"), binding);
  for (let length = 0; length < OVERHEAD; length += 1) {
    assert.throws(() => open(key, payload.subarray(0, length), binding), failsWith("truncated"), `${length} bytes`);
  }
  for (let length = OVERHEAD; length < payload.length; length += 1) {
    assert.throws(() => open(key, payload.subarray(0, length), binding), failsWith("unauthentic"), `${length} bytes`);
  }
});

test("a payload of a later format or with another algorithm is refused by name, before anything is deciphered", () => {
  const payload = seal(key, Buffer.from("x"), binding);
  assert.throws(() => open(key, Buffer.from(payload).fill(2, 0, 1), binding), failsWith("unsupported_version"));
  assert.throws(() => open(key, Buffer.from(payload).fill(9, 1, 2), binding), failsWith("unsupported_algorithm"));
});

test("a payload does not open with another key, whether or not that key claims the id", () => {
  const payload = seal(key, Buffer.from("x"), binding);
  assert.throws(
    () => open({ id: "ffffffffffffffff", key: randomBytes(32) }, payload, binding),
    failsWith("unknown_key"),
  );
  assert.throws(() => open({ id: key.id, key: randomBytes(32) }, payload, binding), failsWith("unauthentic"));
});

test("the same value sealed twice gives payloads that share nothing after the key id", () => {
  const payloads = Array.from({ length: 500 }, () => seal(key, Buffer.from("same"), binding));
  assert.equal(new Set(payloads.map((payload) => payload.toString("hex", 10, 22))).size, payloads.length);
  assert.equal(new Set(payloads.map((payload) => payload.toString("hex", OVERHEAD))).size, payloads.length);
});
