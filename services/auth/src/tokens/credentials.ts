// Long-lived credentials that the gateway checks by hash: the operator's token, and keys for machines.
import { change, type Store } from "../compare-and-set.ts";

/** A credential as the gateway watches it, in `auth_credentials` under its id. Times in milliseconds since 1970. */
export interface CredentialRecord {
  readonly kind: "operator" | "api-key";
  /** SHA-256 of the whole token, in hex; empty once it is revoked, so that no gateway of any version takes it. */
  readonly hash: string;
  readonly principal: string;
  readonly tenant: string;
  /** `*`: everything. */
  readonly scopes: readonly string[];
  readonly createdAt: number;
  /** Absent: it does not expire. */
  readonly expiresAt?: number;
  readonly revokedAt?: number;
  /** What people call it. */
  readonly name?: string;
  /** The principal who made it. */
  readonly createdBy?: string;
}

/** Registers a credential under `id` unless it is there already. A token that was replaced under the same id takes the place of the old one. */
export async function registerCredential(
  kv: Store<CredentialRecord>,
  id: string,
  record: CredentialRecord,
): Promise<void> {
  await change(kv, id, (known) => (known?.hash === record.hash ? known : record));
}

/** Ends a credential; one that has ended, or never was, stays as it is. @returns what is there now. */
export function revokeCredential(
  kv: Store<CredentialRecord>,
  id: string,
  now: number,
): Promise<CredentialRecord | undefined> {
  return change(kv, id, (record) =>
    record && record.revokedAt === undefined ? { ...record, hash: "", revokedAt: now } : record,
  );
}
