// Access tokens: short-lived JWTs (RFC 9068) that the gateway verifies offline.
import { randomUUID } from "node:crypto";
import { SignJWT } from "jose";
import type { Clock } from "../clock.ts";
import type { SigningKey } from "./signing-keys.ts";

/** How long an access token holds, in milliseconds. */
export const ACCESS_TOKEN_MS = 600_000;
/** `iss` and `aud` of every access token. */
export const ISSUER = "warren";
export const AUDIENCE = "warren";

/** Whom a token is for. */
export interface AccessGrant {
  readonly deviceId: string;
  readonly scopes: readonly string[];
  readonly tenant: string;
  /** The refresh token's family: the session. */
  readonly family: string;
  /** The thumbprint of the device's key (RFC 7638), to which the token is bound (RFC 7800). */
  readonly thumbprint: string;
}

/** Signs access tokens for devices. */
export type IssueAccessToken = (grant: AccessGrant) => Promise<string>;

/** An issuer of access tokens, signed with `key`. */
export function createAccessTokens({
  key,
  clock,
}: {
  readonly key: SigningKey;
  readonly clock: Clock;
}): IssueAccessToken {
  return ({ deviceId, scopes, tenant, family, thumbprint }) => {
    const issuedAt = Math.floor(clock() / 1000);
    return new SignJWT({ scope: scopes.join(" "), tenant, sid: family, cnf: { jkt: thumbprint } })
      .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid: key.kid })
      .setIssuer(ISSUER)
      .setAudience(AUDIENCE)
      .setSubject(`device:${deviceId}`)
      .setIssuedAt(issuedAt)
      .setExpirationTime(issuedAt + ACCESS_TOKEN_MS / 1000)
      .setJti(randomUUID())
      .sign(key.privateKey);
  };
}
