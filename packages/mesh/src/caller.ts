// Who a call is made for: an assertion signed by a service's nkey, verified offline by every other service.
// Form: base64url(JSON) "." base64url(Ed25519 signature). It travels unchanged through nested calls.
import { type KeyObject, sign, verify } from "node:crypto";
import { privateKeyOf, publicKeyOf } from "./identity.ts";
import { RpcError, StatusCode } from "./status.ts";

/** A verified caller. */
export interface Caller {
  /** `device:<id>`, `operator`, `key:<id>`, `service:<name>` or `anonymous`. */
  readonly principal: string;
  readonly tenant: string;
  readonly device?: string;
  /** What the caller holds; `*` is everything. */
  readonly scopes: readonly string[];
  /** The client's address as the edge saw it. */
  readonly address?: string;
  /** The key that the caller has proven to hold with this request: its RFC 7638 thumbprint (SHA-256, base64url). */
  readonly key?: string;
  /** When the assertion ends, in milliseconds since 1970. */
  readonly expiresAt: number;
}

/** A signed statement of who the caller is, opaque to those who pass it on. */
export type CallerAssertion = string & { readonly assertion: unique symbol };

/** How long what a service asserts of itself holds, in milliseconds. */
const SELF_ASSERTION_MS = 300_000;
/** How far clocks of two machines may differ, in milliseconds. */
const CLOCK_SKEW_MS = 30_000;
/**
 * Assertions remembered, of some 1 KiB each: those of two gateways, which remember 10,000 callers each. With fewer than there are
 * callers every call pays for a signature's check, thirty times the rest of its serving.
 */
const CACHE_SIZE = 20_000;
/** Characters that tell signatures apart: 24 of a signature's 86. */
const SIGNATURE_END = 24;
/** Characters of the longest assertion that is looked at. */
const LONGEST = 4096;

/** Signs assertions as one service. */
export class CallerSigner {
  readonly #service: string;
  readonly #key: KeyObject;
  #own: { assertion: CallerAssertion; expiresAt: number } | undefined;

  constructor(service: string, seed: string) {
    this.#service = service;
    this.#key = privateKeyOf(seed);
  }

  /** An assertion of `caller`. Services trust it only from a service whose policy lets it speak for users. */
  assert(caller: Caller): CallerAssertion {
    const body = Buffer.from(JSON.stringify({ ...caller, iss: this.#service }));
    return `${body.toString("base64url")}.${sign(null, body, this.#key).toString("base64url")}` as CallerAssertion;
  }

  /** The assertion of this service itself, for calls made for no user. */
  self(): CallerAssertion {
    const time = Date.now();
    if (!this.#own || this.#own.expiresAt - time < SELF_ASSERTION_MS / 2) {
      const expiresAt = time + SELF_ASSERTION_MS;
      const caller = { principal: `service:${this.#service}`, tenant: "default", scopes: ["*"], expiresAt };
      this.#own = { assertion: this.assert(caller), expiresAt };
    }
    return this.#own.assertion;
  }
}

/** The public keys that a service trusts: of every service of its mesh, and which of them may speak for users. */
export interface TrustedKeys {
  /** Public nkeys (`U…`) by service name. */
  readonly services: Readonly<Record<string, string>>;
  /** Names of the services whose word about users is believed: the gateway. */
  readonly speakForUsers: readonly string[];
}

/** A caller, and the assertion that names it. */
export interface VerifiedCaller {
  readonly caller: Caller;
  readonly assertion: CallerAssertion;
}

/** Verifies assertions, and remembers those it has verified by their bytes. */
export class CallerVerifier {
  readonly #keys: ReadonlyMap<string, KeyObject>;
  readonly #speakForUsers: ReadonlySet<string>;
  /** By the end of the signature: to hash all of an assertion for each call costs more than to compare it. */
  readonly #verified = new Map<string, VerifiedCaller>();

  constructor(trusted: TrustedKeys) {
    this.#keys = new Map(Object.entries(trusted.services).map(([name, key]) => [name, publicKeyOf(key)]));
    this.#speakForUsers = new Set(trusted.speakForUsers);
  }

  /**
   * The caller that an assertion names.
   * @throws RpcError UNAUTHENTICATED when it is missing, malformed, expired, badly signed, or by a service that may not say it.
   */
  verify(assertion: string | undefined): Caller {
    return this.verified(assertion).caller;
  }

  /** The same, with the assertion as it is remembered. */
  verified(assertion: string | undefined): VerifiedCaller {
    if (!assertion) throw refused("The call carries no caller assertion");
    if (assertion.length > LONGEST) throw refused("The caller assertion is too long");
    const end = assertion.slice(-SIGNATURE_END);
    const known = this.#verified.get(end);
    if (known?.assertion === assertion) {
      if (known.caller.expiresAt + CLOCK_SKEW_MS >= Date.now()) return known;
      this.#verified.delete(end);
      throw refused("The caller assertion has expired", "expired");
    }
    // Copies, which keep no block of headers alive.
    const own = Buffer.from(assertion).toString() as CallerAssertion;
    const verified = { caller: this.#check(own), assertion: own };
    if (this.#verified.size >= CACHE_SIZE) this.#verified.delete(this.#verified.keys().next().value ?? "");
    this.#verified.set(own.slice(-SIGNATURE_END), verified);
    return verified;
  }

  #check(assertion: string): Caller {
    const [body, signature, ...rest] = assertion.split(".").map((part) => Buffer.from(part, "base64url"));
    if (!body?.length || !signature?.length || rest.length) throw refused("The caller assertion is malformed");
    // One form only: Node's decoder skips what is not base64url and ignores left-over bits.
    if (`${body.toString("base64url")}.${signature.toString("base64url")}` !== assertion)
      throw refused("The caller assertion is malformed");
    const claims = parse(body);
    const key = this.#keys.get(claims.iss);
    if (!key || !verify(null, body, key, signature))
      throw refused("The caller assertion is not signed by a known service");
    if (claims.principal !== `service:${claims.iss}` && !this.#maySpeakFor(claims.iss, claims.principal))
      throw refused(`The service ${claims.iss} may not speak for ${claims.principal.split(":")[0]} callers`);
    if (claims.expiresAt + CLOCK_SKEW_MS < Date.now()) throw refused("The caller assertion has expired", "expired");
    const { iss: _, ...caller } = claims;
    Object.freeze(caller.scopes);
    return Object.freeze(caller);
  }

  /** Nobody speaks for another service. */
  #maySpeakFor(service: string, principal: string): boolean {
    return this.#speakForUsers.has(service) && !principal.startsWith("service:");
  }
}

function parse(body: Buffer): Caller & { iss: string } {
  try {
    const claims = JSON.parse(body.toString()) as Partial<Caller & { iss: string }>;
    const { iss, principal, tenant, scopes, expiresAt } = claims;
    const texts = [iss, principal, tenant].every((each) => typeof each === "string");
    if (texts && Array.isArray(scopes) && typeof expiresAt === "number") return claims as Caller & { iss: string };
  } catch {
    // Told below, as for every other malformed assertion.
  }
  throw refused("The caller assertion is malformed");
}

/** @param why For the caller's machine: an assertion that has just been made and has expired tells of clocks that differ. */
function refused(message: string, why?: "expired"): RpcError {
  const metadata = why ? { metadata: { why } } : {};
  return new RpcError(StatusCode.UNAUTHENTICATED, message, { reason: "CALLER_REFUSED", ...metadata });
}

/**
 * Whether a caller holds a scope. `public` needs nothing; `internal` only services hold; services may call whatever
 * the mesh's policy lets them reach; `*` is every scope but `internal`.
 */
export function holdsScope(caller: Pick<Caller, "principal" | "scopes">, scope: string): boolean {
  if (scope === "public" || caller.principal.startsWith("service:")) return true;
  if (scope === "internal") return false;
  return caller.scopes.includes("*") || caller.scopes.includes(scope);
}
