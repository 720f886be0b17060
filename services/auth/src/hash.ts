// What is stored of a secret, and how two secrets are compared.
import { createHash, timingSafeEqual } from "node:crypto";

/** SHA-256 in hex: all that is stored of a token. Enough for values with 128 bits of entropy or more. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Compares in time that depends on neither text: over hashes, so that not even the lengths show. */
export function equalInConstantTime(a: string, b: string): boolean {
  return timingSafeEqual(createHash("sha256").update(a).digest(), createHash("sha256").update(b).digest());
}
