// The key that signs access tokens: one for all replicas, sealed at rest; its public half is told to the gateway.
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { lostRace } from "@warren/mesh";
import { calculateJwkThumbprint } from "jose";
import type { Clock } from "../clock.ts";
import { change, createOnce, type Store } from "../compare-and-set.ts";
import type { Sealer } from "../seal.ts";

/** A public signing key as the gateway watches it, in `auth_keys` under its kid (the RFC 7638 thumbprint). */
export interface PublicKeyRecord {
  readonly jwk: { readonly kty: "OKP"; readonly crv: "Ed25519"; readonly x: string };
  /** From when tokens are signed with it, in milliseconds since 1970. */
  readonly notBefore: number;
  /** From when no token of it is good any more, in milliseconds since 1970; absent while it signs. */
  readonly expiresAt?: number;
}

/** The private signing key at rest, in `auth_signing` under `current`. */
export interface SigningKeyRecord {
  readonly kid: string;
  /** The private JWK, sealed for the kid. */
  readonly sealed: string;
  readonly createdAt: number;
}

/** The key to sign with. */
export interface SigningKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
}

/** The part of a logger that is used here. */
interface Log {
  warn(fields: object, text: string): void;
}

const CURRENT = "current";

/**
 * The signing key of the mesh, made where there is none: of replicas that start at once one makes it, the others use it.
 * A key that does not open (the service's credentials were replaced) gives way to a new one; tokens of the old one end
 * `tokenMs` later, when the last of them would.
 */
export async function openSigningKey(deps: {
  readonly signing: Store<SigningKeyRecord>;
  readonly publicKeys: Store<PublicKeyRecord>;
  readonly sealer: Sealer;
  readonly clock: Clock;
  readonly log: Log;
  readonly tokenMs: number;
}): Promise<SigningKey> {
  const { signing, publicKeys, sealer, clock, log, tokenMs } = deps;
  for (;;) {
    const entry = await signing.get(CURRENT);
    const known = entry && unseal(entry.value, sealer);
    if (known) {
      // Also where another replica made the key: it may have died before it told the gateway.
      const notBefore = entry.value.createdAt;
      await createOnce(publicKeys, known.kid, { jwk: publicJwk(known.privateKey), notBefore });
      return known;
    }
    const made = await newKey(sealer, clock());
    try {
      if (entry) await signing.update(CURRENT, made, entry.revision);
      else await signing.create(CURRENT, made);
    } catch (error) {
      if (lostRace(error)) continue;
      throw error;
    }
    if (!entry) continue;
    const old = entry.value.kid;
    log.warn(
      { kid: old, successor: made.kid },
      "The signing key does not open with this service's credentials: replaced it",
    );
    await retire(publicKeys, old, clock() + tokenMs);
  }
}

async function retire(publicKeys: Store<PublicKeyRecord>, kid: string, expiresAt: number): Promise<void> {
  await change(publicKeys, kid, (record) => record && { ...record, expiresAt });
}

async function newKey(sealer: Sealer, createdAt: number): Promise<SigningKeyRecord> {
  const { privateKey } = generateKeyPairSync("ed25519");
  const kid = await calculateJwkThumbprint(publicJwk(privateKey));
  return { kid, sealed: sealer.seal(JSON.stringify(privateKey.export({ format: "jwk" })), kid), createdAt };
}

function unseal({ kid, sealed }: SigningKeyRecord, sealer: Sealer): SigningKey | undefined {
  try {
    return { kid, privateKey: createPrivateKey({ key: JSON.parse(sealer.open(sealed, kid)), format: "jwk" }) };
  } catch {
    return undefined; // The caller replaces it, and says so.
  }
}

function publicJwk(privateKey: KeyObject): PublicKeyRecord["jwk"] {
  const { x = "" } = createPublicKey(privateKey).export({ format: "jwk" });
  return { kty: "OKP", crv: "Ed25519", x };
}
