import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import * as fc from "fast-check";
import { describeFiles, keyIdOf, SignatureError, signPackage, verifyPackage } from "../src/index.ts";

const now = new Date("2026-01-01T00:00:00Z");
const expires = new Date("2027-01-01T00:00:00Z");
const pair = generateKeyPairSync("ed25519");
const files = describeFiles([
  { path: "plugin.json", bytes: Buffer.from("{}") },
  { path: "bin/tool", bytes: Buffer.from("#!"), executable: true },
]);
const content = { id: "clock", version: "1.0.0", files };
const trusted = { keys: new Map([[keyIdOf(pair.publicKey), pair.publicKey]]), revoked: new Set<string>() };

const refusedWith = (code: string) => (error: unknown) => error instanceof SignatureError && error.code === code;

test("a signature by a trusted key over these files counts, also after a trip through JSON and in any order", () => {
  const signed = JSON.parse(JSON.stringify(signPackage(content, pair.privateKey, expires)));
  assert.equal(keyIdOf(pair.privateKey), keyIdOf(pair.publicKey));
  assert.equal(
    verifyPackage(signed, { ...content, files: files.toReversed() }, trusted, now).keyId,
    keyIdOf(pair.publicKey),
  );
});

test("a signature by an unknown, a revoked or a misnamed key, or one that expired, does not count", () => {
  const signed = signPackage(content, pair.privateKey, expires);
  const other = generateKeyPairSync("ed25519");
  const id = keyIdOf(pair.publicKey);
  assert.throws(() => verifyPackage(signed, content, { ...trusted, keys: new Map() }, now), refusedWith("UNKNOWN_KEY"));
  assert.throws(
    () => verifyPackage(signed, content, { ...trusted, revoked: new Set([id]) }, now),
    refusedWith("REVOKED_KEY"),
  );
  const misnamed = { ...trusted, keys: new Map([[id, other.publicKey]]) };
  assert.throws(() => verifyPackage(signed, content, misnamed, now), refusedWith("UNKNOWN_KEY"));
  assert.throws(() => verifyPackage(signed, content, trusted, expires), refusedWith("EXPIRED"));
  const forged = signPackage(content, other.privateKey, expires);
  const claimed = { ...forged, statement: { ...forged.statement, keyId: id } };
  assert.throws(() => verifyPackage(claimed, content, trusted, now), refusedWith("BAD_SIGNATURE"));
});

test("any change of what was signed is noticed", () => {
  const signed = signPackage(content, pair.privateKey, expires);
  const { statement } = signed;
  const [first, second] = statement.files;
  assert.ok(first && second);
  const changes = [
    { id: "clocks" },
    { version: "1.0.1" },
    { expires: "2030-01-01T00:00:00.000Z" },
    { files: [first] },
    { files: [first, second, { ...first, path: "extra" }] },
    { files: [{ ...first, sha256: "0".repeat(64) }, second] },
    { files: [{ ...first, size: first.size + 1 }, second] },
    {
      files: [
        { ...first, mode: "0644" },
        { ...second, mode: "0755" },
      ],
    },
  ];
  for (const change of changes) {
    const changed = { ...signed, statement: { ...statement, ...change } };
    assert.throws(
      () => verifyPackage(changed, content, trusted, now),
      refusedWith("BAD_SIGNATURE"),
      JSON.stringify(change),
    );
  }
});

test("a true signature of another package does not count for this one", () => {
  const signed = signPackage(content, pair.privateKey, expires);
  const [first, second] = files;
  assert.ok(first && second);
  const others = [
    { ...content, id: "text" },
    { ...content, version: "0.9.0" },
    { ...content, files: [first] },
    { ...content, files: [...files, { ...first, path: "extra" }] },
    { ...content, files: [first, { ...second, sha256: "0".repeat(64) }] },
    { ...content, files: [{ ...first, mode: "0644" as const }, second] },
  ];
  for (const other of others) assert.throws(() => verifyPackage(signed, other, trusted, now), refusedWith("MISMATCH"));
});

test("only Ed25519 keys sign", () => {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  assert.throws(() => signPackage(content, rsa.privateKey, expires), TypeError);
});

test("any other JSON is a malformed signature, never a crash", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.throws(() => verifyPackage(value, content, trusted, now), SignatureError);
      assert.throws(() => verifyPackage({ statement: value, signature: value }, content, trusted, now), SignatureError);
    }),
  );
});
