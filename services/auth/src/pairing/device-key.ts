// A device's public key (RFC 7517, RFC 8037) and the proof that the device holds the private one.
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, verify } from "node:crypto";
import { RpcError, StatusCode } from "@warren/mesh";
import { isSoundPublicKey } from "./edwards25519.ts";

/** A device's public key: these members only. */
export type DeviceJwk =
  | { readonly kty: "OKP"; readonly crv: "Ed25519"; readonly x: string }
  | { readonly kty: "EC"; readonly crv: "P-256"; readonly x: string; readonly y: string };

/** Members that only private and symmetric keys have (RFC 7518 §6). */
const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];
const COORDINATE_BYTES = 32;
const SIGNATURE_BYTES = 64;

/**
 * Reads a device's public key from the JSON of a JWK. Members that say nothing of the key itself (`kid`, `use`, `key_ops`) are dropped.
 * @throws RpcError INVALID_ARGUMENT when it is anything but a sound public Ed25519 or P-256 key. A private key is refused, not trimmed:
 * its owner must learn that it was sent.
 */
export function parseDeviceKey(json: string): DeviceJwk {
  const members = readObject(json);
  if (PRIVATE_MEMBERS.some((name) => name in members))
    throw refused("holds a private key: send the public members only, and replace this key, which has left the device");
  const { kty, crv, x, y } = members;
  if (kty === "OKP" && crv === "Ed25519") {
    const point = coordinate(x, "x");
    if (!isSoundPublicKey(point)) throw refused("is not a point of Ed25519 that can serve as a key");
    return { kty, crv, x: point.toString("base64url") };
  }
  if (kty === "EC" && crv === "P-256") {
    const jwk = {
      kty,
      crv,
      x: coordinate(x, "x").toString("base64url"),
      y: coordinate(y, "y").toString("base64url"),
    } as const;
    if (!importKey(jwk)) throw refused("is not a point of P-256");
    return jwk;
  }
  throw refused('must be of {"kty":"OKP","crv":"Ed25519"} or {"kty":"EC","crv":"P-256"}');
}

/** The thumbprint of a key (RFC 7638, SHA-256, base64url). */
export function thumbprint(jwk: DeviceJwk): string {
  const required =
    jwk.kty === "EC" ? { crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y } : { crv: jwk.crv, kty: jwk.kty, x: jwk.x };
  return createHash("sha256").update(JSON.stringify(required)).digest("base64url");
}

/** The text that a device signs to complete a pairing. `code` is normalized. */
export function challengeText(challenge: string, code: string, pairingId: string): string {
  return `warren-pairing-v1\n${challenge}\n${code}\n${pairingId}`;
}

/** Whether `signature` (base64url) is the key's over `text`: Ed25519 (RFC 8032), or ECDSA with SHA-256 in IEEE P1363 form. */
export function verifySignature(jwk: DeviceJwk, text: string, signature: string): boolean {
  const bytes = Buffer.from(signature, "base64url");
  const key = importKey(jwk);
  if (!key || bytes.length !== SIGNATURE_BYTES) return false;
  return jwk.kty === "OKP"
    ? verify(null, Buffer.from(text), key, bytes)
    : verify("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }, bytes);
}

/** A key that nobody holds: signatures are judged against it where there is no device, so that the time does not tell. */
export function decoyKey(): DeviceJwk {
  const { x = "" } = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });
  return { kty: "OKP", crv: "Ed25519", x };
}

function importKey(jwk: DeviceJwk): KeyObject | undefined {
  try {
    return createPublicKey({ key: { ...jwk }, format: "jwk" });
  } catch {
    return undefined;
  }
}

function readObject(json: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(json);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Told below: the parser's message would repeat what was sent.
  }
  throw refused("must be a JWK: a JSON object in a string");
}

function coordinate(value: unknown, name: string): Buffer {
  const bytes = Buffer.from(typeof value === "string" ? value : "", "base64url");
  if (bytes.length !== COORDINATE_BYTES || bytes.toString("base64url") !== value)
    throw refused(`must have ${name} of ${COORDINATE_BYTES} bytes in base64url without padding`);
  return bytes;
}

function refused(description: string): RpcError {
  const violations = [{ field: "publicKey", description }];
  return new RpcError(StatusCode.INVALID_ARGUMENT, `The device's public key ${description}`, { violations });
}
