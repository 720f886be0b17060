// The device's side of pairing: its key, and the proof that it knows the operator's code.
import { createPrivateKey, createPublicKey, generateKeyPairSync, type JsonWebKey, sign } from "node:crypto";

/** Letters and digits that cannot be mistaken for one another. */
const alphabet = /^[23456789ABCDEFGHJKMNPQRSTUVWXYZ]{8}$/;

/** A new Ed25519 key (RFC 8037). It never leaves this device. */
export function newDeviceKey(): JsonWebKey {
  return generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
}

/** The public half, as the JSON text of a JWK (RFC 7517). */
export function publicKeyText(privateKey: JsonWebKey): string {
  const { kty, crv, x } = createPublicKey(keyObject(privateKey)).export({ format: "jwk" });
  return JSON.stringify({ kty, crv, x });
}

/** The code as it is signed: upper case, without hyphens and spaces; undefined when it cannot be a code. */
export function normalCode(typed: string): string | undefined {
  const code = typed.replace(/[\s-]/g, "").toUpperCase();
  return alphabet.test(code) ? code : undefined;
}

/** Signs challenge, code and id with the device's key: Ed25519, base64url. */
export function pairingSignature(
  privateKey: JsonWebKey,
  pairing: { readonly challenge: string; readonly id: string },
  code: string,
): string {
  const text = `warren-pairing-v1\n${pairing.challenge}\n${code}\n${pairing.id}`;
  return sign(null, Buffer.from(text), keyObject(privateKey)).toString("base64url");
}

function keyObject(jwk: JsonWebKey): ReturnType<typeof createPrivateKey> {
  return createPrivateKey({ key: jwk, format: "jwk" });
}
