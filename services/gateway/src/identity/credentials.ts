// Opaque tokens: the operator's (`wop_<id>_…`) and API keys (`wak_<id>_…`). Only their hashes are known.
import { createHash, timingSafeEqual } from "node:crypto";
import { type Identity, Unauthenticated } from "./identity.ts";

/** What is kept of an opaque token, under its id. Times are milliseconds since 1970. */
export interface Credential {
  readonly kind: "operator" | "api-key";
  /** SHA-256 of the whole token, its prefix included, hexadecimal. */
  readonly hash: string;
  readonly principal: string;
  readonly tenant: string;
  readonly scopes: readonly string[];
  readonly createdAt: number;
  readonly expiresAt?: number;
  readonly revokedAt?: number;
}

/** The credentials in force. */
export interface Credentials {
  get(id: string): Credential | undefined;
}

const FORM = /^(?:wop|wak)_([A-Za-z0-9-]{1,64})_[A-Za-z0-9_-]{16,256}$/;
const NO_HASH = "0".repeat(64);

/** Verifies opaque tokens. */
export class CredentialVerifier {
  readonly #credentials: Credentials;
  readonly #now: () => number;

  constructor(credentials: Credentials, now: () => number = Date.now) {
    this.#credentials = credentials;
    this.#now = now;
  }

  /** @throws Unauthenticated whatever is wrong with it; in the same time, whether or not its id is known. */
  verify(token: string): Identity {
    const id = FORM.exec(token)?.[1];
    const credential = id === undefined ? undefined : this.#credentials.get(id);
    const expected = Buffer.from(credential?.hash ?? NO_HASH, "hex");
    const actual = createHash("sha256").update(token).digest();
    const same = expected.length === actual.length && timingSafeEqual(expected, actual);
    if (id === undefined || !same || !this.#inForce(credential)) throw new Unauthenticated();
    const { principal, tenant, scopes, expiresAt = Infinity } = credential;
    return Object.freeze({ principal, tenant, scopes, expiresAt, credential: id });
  }

  /** Whether the credential that a session was opened with still holds. */
  holds(id: string): boolean {
    return this.#inForce(this.#credentials.get(id));
  }

  #inForce(credential: Credential | undefined): credential is Credential {
    if (!credential || credential.revokedAt !== undefined) return false;
    return (credential.expiresAt ?? Infinity) > this.#now();
  }
}
