// The key that signs access tokens: one for all replicas, sealed at rest; its public half is told to the gateway.
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { lostRace, RpcError, StatusCode } from "@warren/mesh";
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
/** How long a new public key is told before the first token of it, in milliseconds: every gateway has seen it then. */
const HEAD_START_MS = 1_000;

/** What the signing keys need. */
export interface SigningKeyDeps {
  readonly signing: Store<SigningKeyRecord>;
  readonly publicKeys: Store<PublicKeyRecord>;
  readonly sealer: Sealer;
  readonly clock: Clock;
  readonly log: Log;
  /** How long an access token holds, in milliseconds. */
  readonly tokenMs: number;
  /** Default: a second. */
  readonly headStartMs?: number;
}

/** A key as people see it. Times in milliseconds since 1970. */
export interface SigningKeyEntry {
  readonly kid: string;
  readonly current: boolean;
  readonly createdAt: number;
  readonly expiresAt?: number | undefined;
}

/** The signing keys of the mesh: one that signs, and those whose tokens may still be about. */
export interface SigningKeys {
  /** The key that signs now, whichever replica changed it last. */
  current(): Promise<SigningKey>;
  /** Every one whose tokens may still be good, in no order. */
  list(): Promise<SigningKeyEntry[]>;
  /**
   * Replaces the key that signs. Tokens of the old one end with their time, or now.
   * @throws RpcError ABORTED when another replica did the same meanwhile.
   */
  rotate(options: { readonly revokeTokens: boolean }): Promise<SigningKeyEntry>;
}

/** The signing keys; opens the present one, or makes the first. */
export async function openSigningKeys(deps: SigningKeyDeps): Promise<SigningKeys> {
  const { signing, publicKeys, sealer, clock, tokenMs, headStartMs = HEAD_START_MS } = deps;
  let known = await openSigningKey(deps);
  const current = async (): Promise<SigningKey> => {
    const entry = await signing.get(CURRENT);
    if (entry?.value.kid !== known.kid) known = await openSigningKey(deps);
    return known;
  };
  return {
    current,
    async list() {
      const [entry, found] = await Promise.all([signing.get(CURRENT), publicKeys.entries()]);
      return found.map(({ key: kid, value: { notBefore, expiresAt } }) => ({
        kid,
        current: kid === entry?.value.kid,
        createdAt: notBefore,
        expiresAt,
      }));
    },
    async rotate({ revokeTokens }) {
      const entry = await signing.get(CURRENT);
      if (!entry) throw new RpcError(StatusCode.UNAVAILABLE, "There is no signing key to replace yet: try again");
      const made = await newKey(sealer, clock());
      await createOnce(publicKeys, made.kid, {
        jwk: publicJwk(openKey(made, sealer).privateKey),
        notBefore: made.createdAt,
      });
      // A token of the new key must not meet a gateway that has not heard of it.
      await pause(headStartMs);
      try {
        await signing.update(CURRENT, made, entry.revision);
      } catch (error) {
        await retire(publicKeys, made.kid, clock());
        if (!lostRace(error)) throw error;
        throw new RpcError(StatusCode.ABORTED, "The signing key has just been replaced by somebody else", {
          reason: "ROTATED_MEANWHILE",
        });
      }
      // All others, not just the last: a rotation may have died before it came to this.
      for (const { key: kid, value } of await publicKeys.entries())
        if (kid !== made.kid && (value.expiresAt === undefined || (revokeTokens && value.expiresAt > clock())))
          await retire(publicKeys, kid, revokeTokens ? clock() : clock() + tokenMs);
      return { kid: made.kid, current: true, createdAt: made.createdAt };
    },
  };
}

/**
 * The signing key of the mesh, made where there is none: of replicas that start at once one makes it, the others use it.
 * A key that does not open (the service's credentials were replaced) gives way to a new one; tokens of the old one end
 * `tokenMs` later, when the last of them would.
 */
export async function openSigningKey(deps: SigningKeyDeps): Promise<SigningKey> {
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

function openKey({ kid, sealed }: SigningKeyRecord, sealer: Sealer): SigningKey {
  return { kid, privateKey: createPrivateKey({ key: JSON.parse(sealer.open(sealed, kid)), format: "jwk" }) };
}

function unseal(record: SigningKeyRecord, sealer: Sealer): SigningKey | undefined {
  try {
    return openKey(record, sealer);
  } catch {
    return undefined; // The caller replaces it, and says so.
  }
}

function publicJwk(privateKey: KeyObject): PublicKeyRecord["jwk"] {
  const { x = "" } = createPublicKey(privateKey).export({ format: "jwk" });
  return { kty: "OKP", crv: "Ed25519", x };
}
