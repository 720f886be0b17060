// Access tokens: EdDSA JWTs (RFC 9068, RFC 8037), verified offline with the mesh's public keys.
import { importJWK, type JWK, jwtVerify, type JWTHeaderParameters, type JWTPayload } from "jose";
import { type Identity, Unauthenticated } from "./identity.ts";

/** A public signing key, as the auth service publishes it under its `kid`. Times are milliseconds since 1970. */
export interface SigningKey {
  readonly jwk: JWK;
  readonly notBefore: number;
  readonly expiresAt?: number;
}

/** The keys in use. */
export interface SigningKeys {
  get(kid: string): SigningKey | undefined;
}

const KID = /^[A-Za-z0-9_-]{1,128}$/;
const SUBJECT = /^[a-z]+(:[A-Za-z0-9_-]{1,128})?$/;
const TENANT = /^[A-Za-z0-9_-]{1,64}$/;
/** How far this clock and the auth service's may differ, in seconds. */
const CLOCK_TOLERANCE_S = 5;

/** Verifies access tokens. */
export class JwtVerifier {
  readonly #keys: SigningKeys;
  readonly #now: () => number;

  constructor(keys: SigningKeys, now: () => number = Date.now) {
    this.#keys = keys;
    this.#now = now;
  }

  /** @throws Unauthenticated whatever is wrong with it. */
  async verify(token: string): Promise<Identity> {
    try {
      const { payload } = await jwtVerify(token, (header) => this.#key(header), {
        algorithms: ["EdDSA"],
        typ: "at+jwt",
        issuer: "warren",
        audience: "warren",
        requiredClaims: ["sub", "exp", "scope", "tenant"],
        clockTolerance: CLOCK_TOLERANCE_S,
        currentDate: new Date(this.#now()),
      });
      return identityOf(payload);
    } catch {
      throw new Unauthenticated();
    }
  }

  /** A key of our own set, by `kid` alone: `jku`, `jwk`, `x5u` and `x5c` of the header are never looked at. */
  async #key({ kid }: JWTHeaderParameters): ReturnType<typeof importJWK> {
    const key = kid !== undefined && KID.test(kid) ? this.#keys.get(kid) : undefined;
    const now = this.#now();
    if (!key || key.notBefore > now + CLOCK_TOLERANCE_S * 1000 || (key.expiresAt ?? Infinity) <= now)
      throw new Unauthenticated();
    return await importJWK({ ...key.jwk, alg: "EdDSA" }, "EdDSA");
  }
}

function identityOf(payload: JWTPayload): Identity {
  const { sub, exp, scope, tenant, sid } = payload as JWTPayload & { scope: unknown; tenant: unknown; sid: unknown };
  const valid = typeof sub === "string" && SUBJECT.test(sub) && typeof exp === "number";
  if (!valid || typeof scope !== "string" || typeof tenant !== "string" || !TENANT.test(tenant))
    throw new Unauthenticated();
  const device = sub.startsWith("device:") ? { device: sub.slice("device:".length) } : {};
  return Object.freeze({
    principal: sub,
    tenant,
    ...device,
    scopes: scope.split(" ").filter(Boolean),
    expiresAt: exp * 1000,
    ...(typeof sid === "string" ? { family: sid } : {}),
    ...bindingOf(payload),
  });
}

/** The key that a token is bound to (RFC 7800), and whether it is good without a proof of it (RFC 9449). */
function bindingOf(payload: JWTPayload): Pick<Identity, "boundTo" | "proofRequired"> {
  const { cnf, token_type: type } = payload as { cnf?: { jkt?: unknown }; token_type?: unknown };
  const boundTo = cnf?.jkt;
  if (typeof boundTo === "string") return { boundTo, proofRequired: type === "DPoP" };
  // A token that asks for a proof of no key, or is bound in a way that is not known here, is good for nothing.
  if (type === "DPoP" || cnf !== undefined) throw new Unauthenticated();
  return {};
}
