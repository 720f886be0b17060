// Refresh tokens: they rotate at every use, and a token that is used again gives its family away (RFC 9700 §4.14.2).
import type { Clock } from "../clock.ts";
import { change, type Store } from "../compare-and-set.ts";
import { equalInConstantTime, sha256 } from "../hash.ts";
import type { RefreshTokenMint } from "./refresh-token.ts";

/** How long the previous token still gives the same successor, in milliseconds: for answers that got lost. */
export const GRACE_MS = 30_000;

/** A family at rest, under its name. Hashes only; times in milliseconds since 1970. */
export interface RefreshRecord {
  readonly deviceId: string;
  /** Number of the newest token; the first is 1. */
  readonly counter: number;
  /** SHA-256 of the newest token. */
  readonly hash: string;
  /** SHA-256 of the one before. */
  readonly previousHash?: string;
  /** When the newest token was made. */
  readonly rotatedAt: number;
  readonly createdAt: number;
  readonly revokedAt?: number;
}

/** Judged where there is no family. */
const DECOY: RefreshRecord = {
  deviceId: "none",
  counter: 1,
  hash: sha256("none"),
  previousHash: sha256("none before"),
  rotatedAt: 0,
  createdAt: 0,
};

/** What became of a refresh token that was used; where it names a family, whose. */
export type Rotation =
  | { readonly outcome: "rotated"; readonly deviceId: string; readonly family: string; readonly token: string }
  /** A token of the past: somebody has a copy. The family must end. */
  | { readonly outcome: "reused"; readonly deviceId: string; readonly family: string }
  | { readonly outcome: "refused"; readonly why: "unknown" | "revoked" | "wrong_key" | "superseded" };

/** Decides whether a device's token may be used by this caller, before anything is changed. */
export type MayUse = (deviceId: string) => Promise<boolean>;

/** The refresh tokens of the mesh. */
export interface RefreshTokens {
  /** Begins a device's family. @returns its first token. */
  open(deviceId: string, family: string): Promise<string>;
  /**
   * Uses a token. Of many uses at once, on any replica, all get the same successor.
   * @param mayUse Asked first, for tokens that are bound to a key: whoever cannot prove it changes nothing.
   */
  rotate(token: string, mayUse?: MayUse): Promise<Rotation>;
  /** Ends a family; one that does not exist is as good as ended. */
  revoke(family: string): Promise<void>;
}

/** Refresh tokens over `kv`. */
export function createRefreshTokens(deps: {
  readonly kv: Store<RefreshRecord>;
  readonly mint: RefreshTokenMint;
  readonly clock: Clock;
}): RefreshTokens {
  const { kv, mint, clock } = deps;

  /** What the presented token is in a family, and the record that its use leaves behind. */
  const use = (
    token: string,
    { family, authentic }: { family: string; authentic: boolean },
    record: RefreshRecord,
  ): { next: RefreshRecord; answer: Rotation } => {
    const { deviceId, counter } = record;
    const stay = (answer: Rotation): { next: RefreshRecord; answer: Rotation } => ({ next: record, answer });
    if (record.revokedAt !== undefined) return stay({ outcome: "refused", why: "revoked" });
    const presented = sha256(token);
    const now = clock();
    if (equalInConstantTime(presented, record.hash)) {
      const successor = mint.successor(family, counter + 1, token);
      const next = {
        ...record,
        counter: counter + 1,
        hash: sha256(successor),
        previousHash: presented,
        rotatedAt: now,
      };
      return { next, answer: { outcome: "rotated", deviceId, family, token: successor } };
    }
    const isPrevious = equalInConstantTime(presented, record.previousHash ?? "");
    if (isPrevious && now - record.rotatedAt <= GRACE_MS) {
      const successor = mint.successor(family, counter, token);
      // Another one was derived under credentials of the past: it cannot be given again.
      const same = equalInConstantTime(sha256(successor), record.hash);
      return stay(
        same ? { outcome: "rotated", deviceId, family, token: successor } : { outcome: "refused", why: "superseded" },
      );
    }
    // A made-up token that names a family (the `sid` of access tokens) must not be able to end it: only ours count.
    return stay(
      isPrevious || authentic ? { outcome: "reused", deviceId, family } : { outcome: "refused", why: "unknown" },
    );
  };

  return {
    async open(deviceId, family) {
      const token = mint.first(family);
      const now = clock();
      await kv.create(family, { deviceId, counter: 1, hash: sha256(token), rotatedAt: now, createdAt: now });
      return token;
    },
    async rotate(token, mayUse) {
      const read = mint.read(token);
      let answer: Rotation = { outcome: "refused", why: "unknown" };
      if (!read) return answer;
      // A family's device never changes: what is decided of it here holds below. Asked also of none, as everything is
      // done for families that are not there: the time does not tell which are.
      const device = (await kv.get(read.family))?.value.deviceId ?? "none";
      if (mayUse && !(await mayUse(device))) return { outcome: "refused", why: "wrong_key" };
      await change(kv, read.family, (record) => {
        const used = use(token, read, record ?? DECOY);
        if (!record) return undefined;
        answer = used.answer;
        return used.next;
      });
      return answer;
    },
    async revoke(family) {
      await change(kv, family, (record) =>
        record && record.revokedAt === undefined ? { ...record, revokedAt: clock() } : record,
      );
    },
  };
}
