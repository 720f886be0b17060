// Recovery codes: for the day the phone is lost. Each works once; only their hashes are kept.
import { createHmac } from "node:crypto";
import { CODE_ALPHABET, CODE_LENGTH, newCode } from "../pairing/code.ts";
import { equalInConstantTime } from "../hash.ts";

/** How many are made at once. */
export const RECOVERY_CODES = 10;

const FORM = new RegExp(`^[${CODE_ALPHABET}]{${2 * CODE_LENGTH}}$`);

/** A recovery code at rest. */
export interface RecoveryCodeRecord {
  /** HMAC-SHA256 under the service's key, in hex: a copy of the data alone cannot be searched. */
  readonly hash: string;
  /** In milliseconds since 1970. */
  readonly usedAt?: number;
}

/** New codes as people write them down (`ABCD-EFGH-JKMN-PQRS`, 79 bits), and as they are kept. */
export function newRecoveryCodes(key: Uint8Array): { codes: string[]; records: RecoveryCodeRecord[] } {
  const codes = Array.from({ length: RECOVERY_CODES }, () => newCode() + newCode());
  return {
    codes: codes.map((code) => code.replaceAll(/(.{4})(?=.)/g, "$1-")),
    records: codes.map((code) => ({ hash: hashOf(key, code) })),
  };
}

/** Where in `records` a typed code is, unused; undefined: nowhere. All are compared, in constant time. */
export function matchingCode(
  key: Uint8Array,
  records: readonly RecoveryCodeRecord[],
  typed: string,
): number | undefined {
  const code = typed.replaceAll(/[-\s]/gu, "").toUpperCase();
  const form = FORM.test(code);
  const hash = hashOf(key, code);
  let found: number | undefined;
  for (const [i, record] of records.entries()) {
    const same = equalInConstantTime(record.hash, hash);
    if (same && form && record.usedAt === undefined) found = i;
  }
  return found;
}

function hashOf(key: Uint8Array, code: string): string {
  return createHmac("sha256", key).update(code).digest("hex");
}
