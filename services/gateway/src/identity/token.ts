// The token of a request: where it is, what form it has, and whose it is. Verified tokens are remembered.
import { hash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { CredentialVerifier } from "./credentials.ts";
import { AmbiguousToken, type Identity, Unauthenticated } from "./identity.ts";
import type { JwtVerifier } from "./jwt.ts";
import { Lru } from "./lru.ts";

const MOST_REMEMBERED = 10_000;
const LONGEST_TOKEN = 4096;
const BEARER = /^bearer +([A-Za-z0-9._~+/=-]+) *$/i;
const TOKEN = /^[A-Za-z0-9._~+/=-]+$/;

/** What the gateway knows of revoked devices. */
export interface Revocations {
  get(device: string): unknown;
}

export interface AuthenticatorDependencies {
  readonly jwt: JwtVerifier;
  readonly credentials: CredentialVerifier;
  readonly revocations: Revocations;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** Turns the token of a request into an identity. */
export class Authenticator {
  readonly #jwt: JwtVerifier;
  readonly #credentials: CredentialVerifier;
  readonly #revocations: Revocations;
  readonly #now: () => number;
  readonly #verified = new Lru<Identity>(MOST_REMEMBERED);
  #generation = 0;

  constructor({ jwt, credentials, revocations, now = Date.now }: AuthenticatorDependencies) {
    this.#jwt = jwt;
    this.#credentials = credentials;
    this.#revocations = revocations;
    this.#now = now;
  }

  /**
   * The identity of a request.
   * @throws Unauthenticated without a token that is valid now; AmbiguousToken with two different ones.
   */
  async authenticate(request: IncomingMessage): Promise<Identity> {
    const token = tokenOf(request);
    // The token itself is not kept: a heap dump must not hold what opens the door.
    const key = hash("sha256", token, "base64");
    const known = this.#verified.get(key);
    const identity = known ?? (await this.#verify(token, key));
    // Looked up every time: a revocation holds from the moment the watch tells of it.
    const revoked = identity.device !== undefined && this.#revocations.get(identity.device) !== undefined;
    if (!revoked && identity.expiresAt > this.#now()) return identity;
    this.#verified.delete(key);
    throw new Unauthenticated();
  }

  /** Forgets every verified token: keys or credentials have changed. */
  forget(): void {
    this.#generation += 1;
    this.#verified.clear();
  }

  async #verify(token: string, key: string): Promise<Identity> {
    const generation = this.#generation;
    const identity = /^w[a-z]{2}_/.test(token) ? this.#credentials.verify(token) : await this.#jwt.verify(token);
    // Verified with keys that have since been withdrawn: true then, and not to be remembered.
    if (generation === this.#generation) this.#verified.set(key, identity);
    return identity;
  }
}

/**
 * The token of a request, from `Authorization: Bearer` (RFC 6750) or `X-Warren-Token`.
 * @throws Unauthenticated when there is none, or none of the right form; AmbiguousToken when there are two.
 */
function tokenOf(request: IncomingMessage): string {
  const authorization = single(request, "authorization");
  const own = single(request, "x-warren-token");
  const bearer = authorization === undefined ? undefined : (BEARER.exec(authorization)?.[1] ?? "");
  if (bearer !== undefined && own !== undefined && bearer !== own) throw new AmbiguousToken();
  const token = bearer ?? own ?? "";
  if (token.length > LONGEST_TOKEN || !TOKEN.test(token)) throw new Unauthenticated();
  return token;
}

/** A header that may come once. Node keeps the first of several, which another hop might not. */
function single(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  if (value === undefined) return undefined;
  const { rawHeaders } = request;
  let times = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]?.toLowerCase() === name) times += 1;
  if (times > 1 || Array.isArray(value)) throw new AmbiguousToken();
  return value;
}
