import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { it } from "node:test";
import { createSealer, deriveKey } from "../src/seal.ts";

const secret = randomBytes(32);

it("opens what was sealed, and shows nothing of it before", () => {
  const sealed = createSealer(secret, "codes").seal("ABCDEFGH", "pairing 1");
  assert.doesNotMatch(sealed, /ABCDEFGH/);
  assert.equal(createSealer(secret, "codes").open(sealed, "pairing 1"), "ABCDEFGH");
});

it("seals the same text differently each time", () => {
  const sealer = createSealer(secret, "codes");
  assert.notEqual(sealer.seal("ABCDEFGH", "pairing 1"), sealer.seal("ABCDEFGH", "pairing 1"));
});

it("does not open a value that was changed, moved, or sealed under another secret or purpose", () => {
  const sealer = createSealer(secret, "codes");
  const sealed = sealer.seal("ABCDEFGH", "pairing 1");
  const bytes = Buffer.from(sealed.slice(3), "base64url");
  for (const at of [0, 12, bytes.length - 1]) {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.throws(() => sealer.open(`v1.${changed.toString("base64url")}`, "pairing 1"));
  }
  assert.throws(() => sealer.open(sealed, "pairing 2"));
  assert.throws(() => createSealer(secret, "keys").open(sealed, "pairing 1"));
  assert.throws(() => createSealer(randomBytes(32), "codes").open(sealed, "pairing 1"));
  for (const malformed of ["", "v1", "v1.", "v2.AAAA", `v2${sealed.slice(2)}`])
    assert.throws(() => sealer.open(malformed, "pairing 1"), /malformed/);
});

it("asks for 32 secret bytes", () => {
  assert.throws(() => deriveKey(randomBytes(16), "codes"), /must have 32/);
});
