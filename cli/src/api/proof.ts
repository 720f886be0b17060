// Proofs of possession (DPoP, RFC 9449): each request shows, by a signature of its own, that this device holds its key.
import { createHash, createPrivateKey, createPublicKey, type JsonWebKey, randomUUID, sign } from "node:crypto";

/** What a proof is for. */
export interface Provable {
  readonly method: string;
  /** The request's address; query and fragment are left out. */
  readonly url: URL;
  /** The access token that goes with it; undefined: none. */
  readonly token?: string | undefined;
}

/** A proof by a device's Ed25519 key, for the header `DPoP`. @param now Milliseconds since 1970. */
export function proofOf(privateKey: JsonWebKey, { method, url, token }: Provable, now: number = Date.now()): string {
  const key = createPrivateKey({ key: privateKey, format: "jwk" });
  const { kty, crv, x } = createPublicKey(key).export({ format: "jwk" });
  const header = { typ: "dpop+jwt", alg: "EdDSA", jwk: { kty, crv, x } };
  const claims = {
    jti: randomUUID(),
    htm: method,
    htu: url.origin + url.pathname,
    iat: Math.floor(now / 1000),
    ...(token === undefined ? {} : { ath: createHash("sha256").update(token).digest("base64url") }),
  };
  const text = `${encode(header)}.${encode(claims)}`;
  return `${text}.${sign(null, Buffer.from(text), key).toString("base64url")}`;
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
