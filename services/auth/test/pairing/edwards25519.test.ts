import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { it } from "node:test";
import { isSoundPublicKey } from "../../src/pairing/edwards25519.ts";

/** Every encoding of a point of small order (https://eprint.iacr.org/2020/1244), sign bit clear. */
const smallOrder = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

const notCanonical = [
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

it("takes the keys that key generation makes", () => {
  for (let i = 0; i < 20; i++) {
    const { x = "" } = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });
    assert.equal(isSoundPublicKey(Buffer.from(x, "base64url")), true);
  }
});

it("refuses keys of small order, under which anybody can sign", () => {
  for (const hex of smallOrder) {
    const bytes = Buffer.from(hex, "hex");
    assert.equal(isSoundPublicKey(bytes), false, hex);
    bytes[31] = (bytes[31] ?? 0) | 0x80;
    assert.equal(isSoundPublicKey(bytes), false, `${hex} with the sign bit`);
  }
});

it("refuses encodings that are not canonical, and bytes that are no point", () => {
  for (const hex of notCanonical) assert.equal(isSoundPublicKey(Buffer.from(hex, "hex")), false, hex);
  assert.equal(isSoundPublicKey(Buffer.concat([Buffer.from([2]), Buffer.alloc(31)])), false, "y = 2 has no x");
  assert.equal(isSoundPublicKey(Buffer.alloc(31, 7)), false);
});
