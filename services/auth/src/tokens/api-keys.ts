// Keys for machines: `wak_<id>_<secret>`. Only their hashes are stored, where the gateways watch them.
import { randomBytes } from "node:crypto";
import { RpcError, StatusCode } from "@warren/mesh";
import type { Clock } from "../clock.ts";
import { change, type Store } from "../compare-and-set.ts";
import { sha256 } from "../hash.ts";
import { type Page, pageOf, type PageRequest } from "../pages.ts";
import { type CredentialRecord, revokeCredential } from "./credentials.ts";

/** How long a key holds when its maker names no time, in milliseconds. */
export const API_KEY_MS = 90 * 86_400_000;

/** When a key was last used, in `auth_activity` under its id. In milliseconds since 1970. */
export interface ActivityRecord {
  readonly lastUsedAt: number;
}

/** A key as people see it. Times in milliseconds since 1970. */
export interface ApiKeyEntry extends CredentialRecord {
  readonly id: string;
  readonly lastUsedAt?: number;
}

/** What a key shall be. */
export interface ApiKeyWish {
  readonly name: string;
  readonly scopes: readonly string[];
  readonly tenant: string;
  /** The principal who makes it. */
  readonly createdBy: string;
  /** In milliseconds; 0: {@link API_KEY_MS}. */
  readonly ttlMs: number;
}

/** The keys of machines. */
export interface ApiKeys {
  /** Makes a key. @returns it, and the token, which is kept nowhere. */
  create(wish: ApiKeyWish): Promise<{ readonly token: string; readonly key: ApiKeyEntry }>;
  /** One page, oldest first, with those that have ended. */
  list(tenant: string, request: PageRequest): Promise<Page<ApiKeyEntry>>;
  /** Ends a key. @throws RpcError NOT_FOUND. */
  revoke(tenant: string, id: string): Promise<void>;
  /** Notes that keys were used just now. What is no key is passed over. */
  used(ids: readonly string[]): Promise<void>;
}

/** Keys over `credentials`, with their last use in `activity`, which no gateway watches. */
export function createApiKeys(deps: {
  readonly credentials: Store<CredentialRecord>;
  readonly activity: Store<ActivityRecord>;
  readonly clock: Clock;
}): ApiKeys {
  const { credentials, activity, clock } = deps;
  const isKey = (record: CredentialRecord | undefined): record is CredentialRecord => record?.kind === "api-key";
  return {
    async create({ name, scopes, tenant, createdBy, ttlMs }) {
      const id = randomBytes(8).toString("hex");
      const token = `wak_${id}_${randomBytes(32).toString("base64url")}`;
      const record: CredentialRecord = {
        kind: "api-key",
        hash: sha256(token),
        principal: `key:${id}`,
        tenant,
        scopes,
        createdAt: clock(),
        expiresAt: clock() + (ttlMs || API_KEY_MS),
        name,
        createdBy,
      };
      await credentials.create(id, record);
      return { token, key: { ...record, id } };
    },
    async list(tenant, request) {
      const found = await credentials.entries();
      const keys = found.flatMap(({ key: id, value }) =>
        isKey(value) && value.tenant === tenant ? [{ ...value, id }] : [],
      );
      const page = pageOf(keys, request);
      const entries = await Promise.all(
        page.entries.map(async (key): Promise<ApiKeyEntry> => {
          const lastUsedAt = (await activity.get(key.id))?.value.lastUsedAt;
          return lastUsedAt === undefined ? key : { ...key, lastUsedAt };
        }),
      );
      return { ...page, entries };
    },
    async revoke(tenant, id) {
      const known = (await credentials.get(id))?.value;
      // The operator's token is no key: it goes the way of its file.
      if (!isKey(known) || known.tenant !== tenant)
        throw new RpcError(StatusCode.NOT_FOUND, `There is no key ${id}`, { reason: "KEY_NOT_FOUND" });
      await revokeCredential(credentials, id, clock());
    },
    async used(ids) {
      const now = clock();
      for (const id of new Set(ids))
        if (isKey((await credentials.get(id))?.value))
          await change(activity, id, (record) => (record && record.lastUsedAt >= now ? record : { lastUsedAt: now }));
    },
  };
}
