// Long-lived credentials that the gateway checks by hash: the operator's token, and keys for machines.
import { change, type Store } from "../compare-and-set.ts";

/** A credential as the gateway watches it, in `auth_credentials` under its id. */
export interface CredentialRecord {
  readonly kind: "operator" | "api-key";
  /** SHA-256 of the whole token, in hex. */
  readonly hash: string;
  readonly principal: string;
  readonly tenant: string;
  /** `*`: everything. */
  readonly scopes: readonly string[];
  /** In milliseconds since 1970. */
  readonly createdAt: number;
  /** In milliseconds since 1970; absent: it does not expire. */
  readonly expiresAt?: number;
}

/** Registers a credential under `id` unless it is there already. A token that was replaced under the same id takes the place of the old one. */
export async function registerCredential(
  kv: Store<CredentialRecord>,
  id: string,
  record: CredentialRecord,
): Promise<void> {
  await change(kv, id, (known) => (known?.hash === record.hash ? known : record));
}
