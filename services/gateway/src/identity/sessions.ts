// Console sessions: cookies of the form `wcs_<id>.<secret>`, verified by their hash against the watched copy.
import { createHash, timingSafeEqual } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { type Identity, Unauthenticated } from "./identity.ts";

/** The cookie. Its prefix makes browsers insist on Secure, Path=/ and no Domain (RFC 6265bis §4.1.3.2). */
export const SESSION_COOKIE = "__Host-warren_session";

/** What is kept of a session, under its id, by the auth service. Times are milliseconds since 1970. */
export interface ConsoleSession {
  /** SHA-256 of the cookie's value, hexadecimal; empty once it is revoked. */
  readonly hash: string;
  readonly previousHash?: string;
  readonly rotatedAt: number;
  readonly csrfHash: string;
  readonly principal: string;
  readonly tenant: string;
  readonly device?: string;
  readonly family?: string;
  readonly credential?: string;
  readonly scopes: readonly string[];
  readonly lastSeenAt: number;
  readonly idleExpiresAt: number;
  readonly expiresAt: number;
  readonly revokedAt?: number;
}

/** The sessions that are open. */
export interface Sessions {
  get(id: string): ConsoleSession | undefined;
}

const FORM = /^wcs_([0-9a-f]{16})\.[A-Za-z0-9_-]{43}$/;
const NO_HASH = "0".repeat(64);
/** How long the value before the present one is good, in milliseconds; as the auth service has it. */
const GRACE_MS = 30_000;
/** The watch may lag behind a cookie that another gateway has just changed: how often and how long to look again. */
const LOOKS = 20;
const LOOK_MS = 50;

/** Verifies session cookies. */
export class SessionVerifier {
  readonly #sessions: Sessions;
  readonly #now: () => number;

  constructor(sessions: Sessions, now: () => number = Date.now) {
    this.#sessions = sessions;
    this.#now = now;
  }

  /** @throws Unauthenticated whatever is wrong with it. */
  async verify(token: string): Promise<Identity> {
    const id = FORM.exec(token)?.[1];
    if (id === undefined) throw new Unauthenticated();
    const presented = createHash("sha256").update(token).digest();
    for (let look = 0; look < LOOKS; look++) {
      if (look > 0) await pause(LOOK_MS);
      const session = this.#sessions.get(id);
      const good = this.#isGood(session, presented);
      if (session && good) return identityOf(id, token, session);
      // Only a session that is open can have had its cookie changed.
      if (!session || session.hash === "") break;
    }
    throw new Unauthenticated();
  }

  /** Whether a session is still open, whatever its cookie is by now. */
  holds(id: string): boolean {
    return isOpen(this.#sessions.get(id), this.#now());
  }

  #isGood(session: ConsoleSession | undefined, presented: Buffer): boolean {
    const now = this.#now();
    const newest = same(session?.hash, presented);
    const previous = same(session?.previousHash, presented);
    if (!isOpen(session, now)) return false;
    return newest || (previous && now - session.rotatedAt <= GRACE_MS);
  }
}

function isOpen(session: ConsoleSession | undefined, now: number): session is ConsoleSession {
  if (!session || session.revokedAt !== undefined) return false;
  return now < session.expiresAt && now < session.idleExpiresAt;
}

function same(hash: string | undefined, presented: Buffer): boolean {
  const expected = Buffer.from(hash || NO_HASH, "hex");
  return expected.length === presented.length && timingSafeEqual(expected, presented) && Boolean(hash);
}

function identityOf(id: string, token: string, session: ConsoleSession): Identity {
  const { principal, tenant, device, family, credential, scopes, csrfHash, rotatedAt, lastSeenAt } = session;
  return {
    principal,
    tenant,
    ...(device === undefined ? {} : { device }),
    ...(family === undefined ? {} : { family }),
    ...(credential === undefined ? {} : { credential }),
    scopes,
    expiresAt: Math.min(session.expiresAt, session.idleExpiresAt),
    session: { id, token, csrfHash, rotatedAt, lastSeenAt },
  };
}

/** The session cookie of a `Cookie` header; undefined: none. Several are as bad as none. */
export function sessionCookieOf(cookies: string | undefined): string | undefined {
  if (cookies === undefined || !cookies.includes(SESSION_COOKIE)) return undefined;
  const values = cookies
    .split(";")
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${SESSION_COOKIE}=`))
    .map((pair) => pair.slice(SESSION_COOKIE.length + 1));
  return values.length === 1 ? values[0] : "";
}
