// The token of a request: where it is, what form it has, and whose it is. Verified tokens are remembered.
import { hash } from "node:crypto";
import type { CredentialVerifier } from "./credentials.ts";
import type { DpopVerifier } from "./dpop.ts";
import { AmbiguousToken, type Identity, Unauthenticated } from "./identity.ts";
import type { JwtVerifier } from "./jwt.ts";
import { Lru } from "./lru.ts";
import { type RequestHead, single } from "./request-head.ts";
import { sessionCookieOf, type SessionVerifier } from "./sessions.ts";

const MOST_REMEMBERED = 10_000;
const LONGEST_TOKEN = 4096;
const AUTHORIZATION = /^(bearer|dpop) +([A-Za-z0-9._~+/=-]+) *$/i;
const TOKEN = /^[A-Za-z0-9._~+/=-]+$/;

/** What the gateway knows of revoked devices, by id, and families of tokens, under `family.<name>`. */
export interface Revocations {
  get(key: string): unknown;
}

/** A token as a request carries it. */
interface PresentedToken {
  readonly token: string;
  /** `cookie`: nobody sent it on purpose. `own`: in `X-Warren-Token`, which says nothing of proofs. */
  readonly scheme: "bearer" | "dpop" | "own" | "cookie";
}

export interface AuthenticatorDependencies {
  readonly jwt: JwtVerifier;
  readonly credentials: CredentialVerifier;
  readonly revocations: Revocations;
  readonly sessions: SessionVerifier;
  readonly dpop: DpopVerifier;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** Turns the token of a request into an identity. */
export class Authenticator {
  readonly #deps: AuthenticatorDependencies;
  readonly #now: () => number;
  readonly #verified = new Lru<Identity>(MOST_REMEMBERED);
  #generation = 0;

  constructor(deps: AuthenticatorDependencies) {
    this.#deps = deps;
    this.#now = deps.now ?? Date.now;
  }

  /**
   * The identity of a request.
   * @throws Unauthenticated without a token that is valid now, with the proof that it asks for; AmbiguousToken with two
   * different ones.
   */
  async authenticate(request: RequestHead): Promise<Identity> {
    const { token, scheme } = tokenOf(request);
    const identity = scheme === "cookie" ? await this.#deps.sessions.verify(token) : await this.#remembered(token);
    if (!this.inForce(identity)) throw new Unauthenticated();
    return scheme === "cookie" ? identity : await this.#proven(identity, request, token, scheme);
  }

  /**
   * The key that the sender of a request without a token has proven to hold; undefined: it brings no proof.
   * @throws Unauthenticated when the proof is not good.
   */
  async proofOf(request: RequestHead): Promise<string | undefined> {
    return request.headers["dpop"] === undefined ? undefined : await this.#deps.dpop.verify(request);
  }

  /** Forgets every verified token: keys or credentials have changed. */
  forget(): void {
    this.#generation += 1;
    this.#verified.clear();
  }

  async #remembered(token: string): Promise<Identity> {
    // The token itself is not kept: a heap dump must not hold what opens the door.
    const key = hash("sha256", token, "base64");
    const known = this.#verified.get(key);
    if (known && known.expiresAt > this.#now()) return known;
    this.#verified.delete(key);
    const generation = this.#generation;
    const { credentials, jwt } = this.#deps;
    const identity = /^w[a-z]{2}_/.test(token) ? credentials.verify(token) : await jwt.verify(token);
    // Verified with keys that have since been withdrawn: true then, and not to be remembered.
    if (generation === this.#generation) this.#verified.set(key, identity);
    return identity;
  }

  /** Whether an identity still holds: looked up every time, so that a revocation holds from the moment it is known. */
  inForce({ device, family, credential, expiresAt, session }: Identity): boolean {
    const { revocations, credentials, sessions } = this.#deps;
    const revoked =
      (device !== undefined && revocations.get(device) !== undefined) ||
      (family !== undefined && revocations.get(`family.${family}`) !== undefined) ||
      (credential !== undefined && !credentials.holds(credential));
    // A session that was ended takes its streams and WebSockets along.
    if (session !== undefined && !sessions.holds(session.id)) return false;
    return !revoked && expiresAt > this.#now();
  }

  /** A token that asks for a proof never passes as a bearer's (RFC 9449 §7.2); a proof that is there is always looked at. */
  async #proven(
    identity: Identity,
    request: RequestHead,
    token: string,
    scheme: PresentedToken["scheme"],
  ): Promise<Identity> {
    const { boundTo, proofRequired = false } = identity;
    if (proofRequired && scheme === "bearer") throw new Unauthenticated();
    if (!proofRequired && scheme !== "dpop" && request.headers["dpop"] === undefined) return identity;
    if (boundTo === undefined) throw new Unauthenticated();
    return { ...identity, key: await this.#deps.dpop.verify(request, token, boundTo) };
  }
}

/**
 * The token of a request, from `Authorization` (RFC 6750, RFC 9449), `X-Warren-Token`, or the console's cookie, which
 * counts only where neither is there.
 * @throws Unauthenticated when there is none, or none of the right form; AmbiguousToken when there are two.
 */
function tokenOf(request: RequestHead): PresentedToken {
  const authorization = single(request, "authorization");
  const own = single(request, "x-warren-token");
  if (authorization === undefined && own === undefined) {
    const token = sessionCookieOf(request.headers.cookie) ?? "";
    if (!TOKEN.test(token)) throw new Unauthenticated();
    return { token, scheme: "cookie" };
  }
  const [, name, sent = ""] = (authorization !== undefined && AUTHORIZATION.exec(authorization)) || [];
  if (authorization !== undefined && own !== undefined && sent !== own) throw new AmbiguousToken();
  const token = authorization === undefined ? (own ?? "") : sent;
  if (token.length > LONGEST_TOKEN || !TOKEN.test(token)) throw new Unauthenticated();
  if (authorization === undefined) return { token, scheme: "own" };
  return { token, scheme: name?.toLowerCase() === "dpop" ? "dpop" : "bearer" };
}
