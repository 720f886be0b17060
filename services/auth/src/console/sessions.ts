// Sessions of the web console, as cookies hold them: `wcs_<id>.<secret>`. Only hashes are kept, where the gateways watch
// them. The secret changes every quarter of an hour; each follows from the one before, so that answers to many requests
// at once agree.
import { createHmac, randomBytes } from "node:crypto";
import { RpcError, StatusCode } from "@warren/mesh";
import type { Clock } from "../clock.ts";
import { change, type Store } from "../compare-and-set.ts";
import { equalInConstantTime, sha256 } from "../hash.ts";
import { type Page, pageOf, type PageRequest } from "../pages.ts";
import { deriveKey } from "../seal.ts";

/** A session ends when it was not used for so long, in milliseconds. */
export const IDLE_MS = 30 * 60_000;
/** It ends after this, whatever happens. */
export const LONGEST_MS = 12 * 3_600_000;
/** Age at which a cookie's secret gets a successor. */
export const ROTATE_MS = 15 * 60_000;
/** How long the one before is still good: for requests under way. */
export const GRACE_MS = 30_000;
/** Use is noted this often at most. */
const NOTE_EVERY_MS = 60_000;
const FORM = /^wcs_(?<id>[0-9a-f]{16})\.(?<secret>[A-Za-z0-9_-]{43})$/;

/** A session as the gateways watch it, in `auth_sessions` under its id. Times in milliseconds since 1970. */
export interface SessionRecord {
  readonly id: string;
  /** SHA-256 of the cookie's value, in hex; empty once it is revoked. */
  readonly hash: string;
  /** Of the one before. */
  readonly previousHash?: string;
  readonly counter: number;
  readonly rotatedAt: number;
  /** SHA-256 of the token that pages send back. */
  readonly csrfHash: string;
  readonly principal: string;
  readonly tenant: string;
  readonly device?: string;
  readonly family?: string;
  readonly credential?: string;
  readonly scopes: readonly string[];
  readonly address: string;
  readonly userAgent: string;
  readonly createdAt: number;
  readonly lastSeenAt: number;
  readonly idleExpiresAt: number;
  readonly expiresAt: number;
  readonly revokedAt?: number;
}

/** Whose a session shall be. */
export type SessionWish = Pick<
  SessionRecord,
  "principal" | "tenant" | "device" | "family" | "credential" | "scopes" | "address" | "userAgent"
>;

/** A session with what its cookie holds. */
export interface OpenedSession {
  readonly record: SessionRecord;
  /** The cookie's new value; empty: the present one stays. */
  readonly token: string;
  readonly csrfToken: string;
}

/** The console sessions of the mesh. */
export interface ConsoleSessions {
  open(wish: SessionWish): Promise<OpenedSession>;
  /** Notes that a session is in use; gives its cookie a successor when it is time. @throws RpcError UNAUTHENTICATED. */
  renew(token: string): Promise<OpenedSession>;
  /** Ends the session of a cookie; one that is not good has ended already. @returns its record, where it was good. */
  close(token: string): Promise<SessionRecord | undefined>;
  /** One page of those that are open, oldest first. */
  list(tenant: string, request: PageRequest): Promise<Page<SessionRecord>>;
  /** @throws RpcError NOT_FOUND. */
  revoke(tenant: string, id: string): Promise<void>;
}

/** Sessions over `kv`; `secret` (32 bytes) is the service's own. */
export function createConsoleSessions(deps: {
  readonly kv: Store<SessionRecord>;
  readonly secret: Uint8Array;
  readonly clock: Clock;
}): ConsoleSessions {
  const { kv, clock } = deps;
  const successorKey = deriveKey(deps.secret, "console-successor");
  const csrfKey = deriveKey(deps.secret, "console-csrf");
  const csrfOf = (id: string): string => createHmac("sha256", csrfKey).update(id).digest("base64url");
  const successorOf = (id: string, counter: number, token: string): string =>
    `wcs_${id}.${createHmac("sha256", successorKey).update(`${counter}\n${token}`).digest("base64url")}`;

  /** Which of a session's two cookies this is; undefined: none that is good now. */
  const judge = (record: SessionRecord | undefined, token: string): "newest" | "previous" | undefined => {
    const presented = sha256(token);
    const isNewest = equalInConstantTime(presented, record?.hash ?? "");
    const isPrevious = equalInConstantTime(presented, record?.previousHash ?? "");
    const now = clock();
    if (!record || !isOpen(record, now)) return undefined;
    if (isNewest) return "newest";
    return isPrevious && now - record.rotatedAt <= GRACE_MS ? "previous" : undefined;
  };

  /** What the use of a cookie leaves behind, and its successor where there is one. */
  const use = (record: SessionRecord, token: string): { next: SessionRecord; successor: string } => {
    const now = clock();
    if (judge(record, token) === "previous")
      return { next: record, successor: successorOf(record.id, record.counter, token) };
    const seen = { lastSeenAt: now, idleExpiresAt: Math.min(now + IDLE_MS, record.expiresAt) };
    if (now - record.rotatedAt < ROTATE_MS) {
      const noted = now - record.lastSeenAt >= NOTE_EVERY_MS ? { ...record, ...seen } : record;
      return { next: noted, successor: "" };
    }
    const counter = record.counter + 1;
    const successor = successorOf(record.id, counter, token);
    const hashes = { hash: sha256(successor), previousHash: sha256(token) };
    return { next: { ...record, ...seen, ...hashes, counter, rotatedAt: now }, successor };
  };

  const end = (id: string): Promise<SessionRecord | undefined> =>
    change(kv, id, (record) => {
      if (!record || record.revokedAt !== undefined) return record;
      const { previousHash: _, ...rest } = record;
      return { ...rest, hash: "", revokedAt: clock() };
    });

  return {
    async open(wish) {
      const id = randomBytes(8).toString("hex");
      const token = `wcs_${id}.${randomBytes(32).toString("base64url")}`;
      const csrfToken = csrfOf(id);
      const now = clock();
      const record: SessionRecord = {
        ...wish,
        id,
        hash: sha256(token),
        counter: 1,
        rotatedAt: now,
        csrfHash: sha256(csrfToken),
        createdAt: now,
        lastSeenAt: now,
        idleExpiresAt: now + IDLE_MS,
        expiresAt: now + LONGEST_MS,
      };
      await kv.create(id, record);
      return { record, token, csrfToken };
    },
    async renew(token) {
      const id = FORM.exec(token)?.groups?.["id"] ?? "none";
      let successor = "";
      const record = await change(kv, id, (current) => {
        if (!current || judge(current, token) === undefined) throw sessionRefused();
        const used = use(current, token);
        successor = used.successor;
        return used.next;
      });
      return { record, token: successor, csrfToken: csrfOf(id) };
    },
    async close(token) {
      const id = FORM.exec(token)?.groups?.["id"] ?? "none";
      const known = (await kv.get(id))?.value;
      return judge(known, token) === undefined ? undefined : await end(id);
    },
    async list(tenant, request) {
      const now = clock();
      const found = (await kv.entries()).map(({ value }) => value);
      return pageOf(
        found.filter((record) => record.tenant === tenant && isOpen(record, now)),
        request,
      );
    },
    async revoke(tenant, id) {
      const known = (await kv.get(id))?.value;
      if (!known || known.tenant !== tenant)
        throw new RpcError(StatusCode.NOT_FOUND, `There is no console session ${id}`, { reason: "SESSION_NOT_FOUND" });
      await end(id);
    },
  };
}

function isOpen({ revokedAt, expiresAt, idleExpiresAt }: SessionRecord, now: number): boolean {
  return revokedAt === undefined && now < expiresAt && now < idleExpiresAt;
}

function sessionRefused(): RpcError {
  return new RpcError(StatusCode.UNAUTHENTICATED, "The session has ended: log in again", { reason: "SESSION_REFUSED" });
}
