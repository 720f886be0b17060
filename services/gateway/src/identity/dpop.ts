// Proofs of possession (DPoP, RFC 9449): that whoever sends this request holds a certain key, and sends it now.
import { createHash, hash } from "node:crypto";
import { calculateJwkThumbprint, EmbeddedJWK, type JWK, jwtVerify, type JWTPayload } from "jose";
import { Unauthenticated } from "./identity.ts";
import { type RequestHead, single } from "./request-head.ts";

/** How old a proof may be, in seconds: requests take time, and clocks differ. */
const OLDEST_S = 60;
/** How far a proof's clock may be ahead, in seconds. */
const AHEAD_S = 5;
/** How long the use of a proof must be remembered, in milliseconds. */
export const PROOF_LIFETIME_MS = (OLDEST_S + AHEAD_S) * 1000;
const LONGEST = 4096;
/** Those that a device's key may have: Ed25519 (under both of its names) and P-256. */
const ALGORITHMS = ["EdDSA", "Ed25519", "ES256"];
const JTI = /^[\x21-\x7e]{1,256}$/;

/** Remembers which proofs were used. */
export interface UsedProofs {
  /** Takes note of a proof, for {@link PROOF_LIFETIME_MS}. @returns false when it was used before. */
  use(id: string): Promise<boolean>;
}

export interface DpopDependencies {
  readonly used: UsedProofs;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** Verifies proofs. */
export class DpopVerifier {
  readonly #used: UsedProofs;
  readonly #now: () => number;

  constructor({ used, now = Date.now }: DpopDependencies) {
    this.#used = used;
    this.#now = now;
  }

  /**
   * The thumbprint (RFC 7638) of the key that the request's proof was signed with.
   * @param token The access token that the proof must name (`ath`); absent: the request carries none.
   * @param key The thumbprint that it must be: whose is not this key's is not remembered as used.
   * @throws Unauthenticated without exactly one proof that is good, for this request, now, and for the first time.
   */
  async verify(request: RequestHead, token?: string, key?: string): Promise<string> {
    const proof = single(request, "dpop") ?? "";
    if (proof === "" || proof.length > LONGEST) throw new Unauthenticated();
    const { thumbprint, payload } = await this.#open(proof);
    if (key !== undefined && thumbprint !== key) throw new Unauthenticated();
    const { htm, htu, jti, ath } = payload;
    if (htm !== request.method || !isTarget(htu, request) || typeof jti !== "string" || !JTI.test(jti))
      throw new Unauthenticated();
    if (token !== undefined && ath !== createHash("sha256").update(token).digest("base64url"))
      throw new Unauthenticated();
    // Last: only a proof that would have let somebody in takes room.
    if (!(await this.#used.use(hash("sha256", `${thumbprint}.${jti}`, "base64url")))) throw new Unauthenticated();
    return thumbprint;
  }

  async #open(proof: string): Promise<{ thumbprint: string; payload: JWTPayload }> {
    try {
      const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
        typ: "dpop+jwt",
        algorithms: ALGORITHMS,
        requiredClaims: ["jti", "htm", "htu", "iat"],
        currentDate: new Date(this.#now()),
        clockTolerance: AHEAD_S,
      });
      const age = this.#now() / 1000 - (payload.iat ?? 0);
      if (age > OLDEST_S || age < -AHEAD_S) throw new Unauthenticated();
      return { thumbprint: await calculateJwkThumbprint(protectedHeader.jwk as JWK), payload };
    } catch {
      throw new Unauthenticated();
    }
  }
}

/**
 * Whether `htu` is where the request went: host and path, without query and fragment (RFC 9449 §4.3). The scheme is not
 * compared: TLS ends at a proxy, which does not say so in a way that could be trusted.
 */
function isTarget(htu: unknown, request: RequestHead): boolean {
  if (typeof htu !== "string" || !/^https?:\/\//i.test(htu) || !URL.canParse(htu)) return false;
  const claimed = new URL(htu);
  // Of an absolute target (RFC 9112 §3.2.2) and a host that `htu`'s scheme writes without its own port.
  const target = /^https?:\/\/[^/?#]*(.*)$/i.exec(request.url ?? "")?.[1] ?? request.url ?? "";
  const authority = /^https?:\/\/([^/?#]*)/i.exec(request.url ?? "")?.[1] ?? request.headers.host ?? "";
  const actual = `${claimed.protocol}//${authority}${target.startsWith("/") ? target : `/${target}`}`;
  if (!URL.canParse(actual)) return false;
  const { host, pathname } = new URL(actual);
  return claimed.host === host && claimed.pathname === pathname && claimed.username === "" && claimed.password === "";
}
