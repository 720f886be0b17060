import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CODE_ALPHABET, displayCode, newCode, normalizeCode } from "../../src/pairing/code.ts";

describe("a pairing code", () => {
  it("has 8 characters, none of them a look-alike", () => {
    for (let i = 0; i < 1000; i++) assert.match(newCode(), /^[23456789ABCDEFGHJKMNPQRSTUVWXYZ]{8}$/);
  });

  it("draws bytes again that would make some characters likelier", () => {
    // 248 = 8 · 31: from there on, a remainder would favour the first characters.
    const draws = [
      [248, 249, 250, 251, 252, 253, 254, 255],
      [0, 1, 2, 247, 30, 31, 62, 93],
    ];
    assert.equal(
      newCode(() => Uint8Array.from(draws.shift() ?? [])),
      "234ZZ222",
    );
  });

  it("gives every character the same chance", () => {
    const counts = new Map<string, number>();
    const codes = 8000;
    for (let i = 0; i < codes; i++)
      for (const character of newCode()) counts.set(character, (counts.get(character) ?? 0) + 1);
    const expected = (codes * 8) / CODE_ALPHABET.length;
    const chiSquare = CODE_ALPHABET.split("").reduce(
      (sum, c) => sum + ((counts.get(c) ?? 0) - expected) ** 2 / expected,
      0,
    );
    assert.ok(chiSquare < 80, `chi-square ${chiSquare} with 30 degrees of freedom: 1 in 10^6 draws is above 80`);
  });

  it("is read without regard to case, hyphens and spaces", () => {
    assert.equal(normalizeCode(" abcd-EFGH "), "ABCDEFGH");
    assert.equal(normalizeCode(displayCode("23456789")), "23456789");
    assert.equal(displayCode("ABCDEFGH"), "ABCD-EFGH");
  });
});
