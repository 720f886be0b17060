import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { it } from "node:test";
import { createRefreshTokenMint, newFamily } from "../../src/tokens/refresh-token.ts";

const secret = randomBytes(32);
const mint = createRefreshTokenMint(secret);

it("knows its own tokens", () => {
  const family = newFamily();
  const first = mint.first(family);
  assert.match(first, /^wrt_[0-9a-f]{32}\.[A-Za-z0-9_-]{64}$/);
  assert.deepEqual(mint.read(first), { family, authentic: true });
  assert.deepEqual(mint.read(mint.successor(family, 2, first)), { family, authentic: true });
});

it("does not take for its own what others make", () => {
  const family = newFamily();
  const other = newFamily();
  const token = mint.first(family);
  const body = token.split(".")[1] ?? "";
  const changed = `wrt_${family}.${body.startsWith("A") ? "B" : "A"}${body.slice(1)}`;
  for (const foreign of [changed, `wrt_${other}.${body}`, createRefreshTokenMint(randomBytes(32)).first(family)])
    assert.equal(mint.read(foreign)?.authentic, false);
  for (const malformed of [
    "",
    "wrt_",
    `wrt_${family}`,
    `${token}A`,
    ` ${token}`,
    token.slice(0, -1),
    `wop_${family}.${body}`,
  ])
    assert.equal(mint.read(malformed), undefined, malformed);
});

it("derives the same successor each time, and another of every other token, number and secret", () => {
  const family = newFamily();
  const first = mint.first(family);
  const successor = mint.successor(family, 2, first);
  assert.equal(createRefreshTokenMint(secret).successor(family, 2, first), successor);
  const others = [
    mint.successor(family, 3, first),
    mint.successor(family, 2, mint.first(family)),
    createRefreshTokenMint(randomBytes(32)).successor(family, 2, first),
    mint.first(family),
  ];
  for (const other of others) assert.notEqual(other, successor);
});
