// Where a secret is in the store: `secret.<tenant>.<name>`.
import type { SecretId } from "./record.ts";

/** The first token of the keys of all secrets. */
export const SECRET_KEYS = "secret";

/** The key of one secret. No two secrets have the same. */
export function secretKey({ tenant, name }: SecretId): string {
  return `${tenantKeys(tenant)}.${name}`;
}

/** The first tokens of the keys of one tenant's secrets, which no other tenant's start with. */
export function tenantKeys(tenant: string): string {
  // One token: names have dots, so a tenant must not. "=" starts no plain tenant.
  const token = /^[A-Za-z0-9_-]+$/.test(tenant) ? tenant : `=${Buffer.from(tenant, "utf8").toString("base64url")}`;
  return `${SECRET_KEYS}.${token}`;
}
