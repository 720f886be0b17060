// Ed25519 identities in nkey form (https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth):
// the key with which a service logs in to NATS also signs what it asserts. node:crypto signs and verifies some twenty
// times faster than the JavaScript of the nkeys package.
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const PKCS8_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI_ED25519 = Buffer.from("302a300506032b6570032100", "hex");

function decodeBase32(text: string): Buffer {
  const bytes = Buffer.alloc(Math.floor((text.length * 5) / 8));
  let bits = 0;
  let value = 0;
  let at = 0;
  for (const character of text) {
    const digit = ALPHABET.indexOf(character);
    if (digit < 0) throw new Error("An nkey has characters that are not base32: give the key as it was generated");
    value = ((value << 5) | digit) & 0xfff;
    bits += 5;
    if (bits >= 8) bytes[at++] = (value >>> (bits -= 8)) & 0xff;
  }
  return bytes;
}

/** The private key of a user seed (`SU…`). */
export function privateKeyOf(seed: string): KeyObject {
  const raw = decodeBase32(seed);
  if (raw.length !== 36 || !seed.startsWith("SU")) throw new Error("A mesh credential's seed is not a user seed (SU…)");
  // Two bytes of prefix, 32 of seed, two of checksum.
  const der = Buffer.concat([PKCS8_ED25519, raw.subarray(2, 34)]);
  raw.fill(0);
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
}

/** The public key of a user id (`U…`). */
export function publicKeyOf(userId: string): KeyObject {
  const raw = decodeBase32(userId);
  if (raw.length !== 35 || !userId.startsWith("U")) throw new Error("A trusted key is not a user nkey (U…)");
  const der = Buffer.concat([SPKI_ED25519, raw.subarray(1, 33)]);
  return createPublicKey({ key: der, format: "der", type: "spki" });
}

/** The 32 secret bytes of a seed, for deriving keys that only holders of this identity can derive. */
export function seedBytes(seed: string): Buffer {
  return Buffer.from(decodeBase32(seed).subarray(2, 34));
}
