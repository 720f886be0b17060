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
  /** The token is good only with a proof of that key (RFC 9449). */
  readonly proofRequired?: boolean;
}

/** Signs access tokens for devices. */
export type IssueAccessToken = (grant: AccessGrant) => Promise<string>;

/** An issuer of access tokens, each signed with the key that `currentKey` gives. */
export function createAccessTokens({
  currentKey,
  clock,
}: {
  readonly currentKey: () => Promise<SigningKey>;
  readonly clock: Clock;
}): IssueAccessToken {
  return async ({ deviceId, scopes, tenant, family, thumbprint, proofRequired }) => {
    const key = await currentKey();
    const issuedAt = Math.floor(clock() / 1000);
    // `token_type` says the same in the answers of RFC 9449 §6.2 (token introspection).
    const bound = proofRequired ? { token_type: "DPoP" } : {};
    return new SignJWT({ scope: scopes.join(" "), tenant, sid: family, cnf: { jkt: thumbprint }, ...bound })
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
