import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { describe, it } from "node:test";
import { calculateJwkThumbprint } from "jose";
import { challengeText, parseDeviceKey, thumbprint, verifySignature } from "../../src/pairing/device-key.ts";
import { newDevice } from "../support/device.ts";
import { namesField } from "../support/errors.ts";

for (const algorithm of ["Ed25519", "P-256"] as const)
  describe(`a device's ${algorithm} key`, () => {
    it("is kept as its public members alone", () => {
      const { publicKey } = newDevice(algorithm);
      const known: unknown = JSON.parse(publicKey);
      const decorated = JSON.stringify({
        ...JSON.parse(publicKey),
        kid: "mine",
        use: "sig",
        ext: true,
        key_ops: ["verify"],
      });
      assert.deepEqual(parseDeviceKey(decorated), known);
    });

    it("has the thumbprint of RFC 7638", async () => {
      const key = parseDeviceKey(newDevice(algorithm).publicKey);
      assert.equal(thumbprint(key), await calculateJwkThumbprint(key));
    });

    it("verifies its signature, over exactly the text of this pairing", () => {
      const device = newDevice(algorithm);
      const key = parseDeviceKey(device.publicKey);
      const signature = device.prove("challenge", "ABCDEFGH", "id");
      const verify = (text: string, by = key) => verifySignature(by, text, signature);
      assert.equal(verify(challengeText("challenge", "ABCDEFGH", "id")), true);
      assert.equal(verify(challengeText("challenge", "ABCDEFGJ", "id")), false);
      assert.equal(verify(challengeText("other", "ABCDEFGH", "id")), false);
      assert.equal(verify(challengeText("challenge", "ABCDEFGH", "other")), false);
      assert.equal(
        verify(challengeText("challenge", "ABCDEFGH", "id"), parseDeviceKey(newDevice(algorithm).publicKey)),
        false,
      );
    });

    it("does not verify what is no signature", () => {
      const key = parseDeviceKey(newDevice(algorithm).publicKey);
      for (const signature of ["", "AAAA", "A".repeat(86), "A".repeat(256)])
        assert.equal(verifySignature(key, "text", signature), false);
    });

    it("is refused with its private part", () => {
      const { privateKey } =
        algorithm === "Ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: "P-256" });
      const json = JSON.stringify(privateKey.export({ format: "jwk" }));
      assert.throws(() => parseDeviceKey(json), namesField("publicKey"));
    });
  });

it("refuses whatever is not a sound public key of the two kinds, without repeating it", () => {
  const ed = JSON.parse(newDevice("Ed25519").publicKey) as Record<string, string>;
  const ec = JSON.parse(newDevice("P-256").publicKey) as Record<string, string>;
  const hostile: unknown[] = [
    "secret-looking text",
    null,
    [],
    {},
    { kty: "oct", k: "c2VjcmV0" },
    { kty: "RSA", n: "AQAB", e: "AQAB" },
    { ...ed, crv: "X25519" },
    { ...ed, crv: "Ed448" },
    { ...ed, kty: "EC" },
    { ...ed, x: `${ed["x"]}=` },
    { ...ed, x: ed["x"]?.slice(1) },
    { ...ed, x: `${ed["x"]}AA` },
    { ...ed, x: 7 },
    { ...ed, x: Buffer.alloc(32).toString("base64url") },
    { ...ec, crv: "P-384" },
    { ...ec, y: undefined },
    { ...ec, y: ec["x"] },
    { ...ec, x: Buffer.alloc(32, 255).toString("base64url") },
  ];
  for (const value of hostile) {
    const json = JSON.stringify(value);
    assert.throws(() => parseDeviceKey(json), namesField("publicKey"), json);
  }
  assert.throws(
    () => parseDeviceKey('{"kty":"OKP","d":"tell-nobody'),
    (error: Error) => {
      assert.doesNotMatch(error.message, /tell-nobody/);
      return namesField("publicKey")(error);
    },
  );
});
