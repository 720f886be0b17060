// The code that a person carries from the operator's screen to the device.
import { randomBytes } from "node:crypto";

/** Without the look-alikes 0, O, 1, I and L: 31 characters, so a code is one of 8.5 · 10^11. */
export const CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ";
export const CODE_LENGTH = 8;

/** A new code. Bytes beyond the last whole multiple of the alphabet are drawn again: no character is likelier than another. */
export function newCode(random: (size: number) => Uint8Array = randomBytes): string {
  const bound = 256 - (256 % CODE_ALPHABET.length);
  let code = "";
  while (code.length < CODE_LENGTH)
    for (const byte of random(CODE_LENGTH))
      if (byte < bound && code.length < CODE_LENGTH) code += CODE_ALPHABET[byte % CODE_ALPHABET.length];
  return code;
}

/** A code as it is compared and signed, of what a person typed: upper case, without hyphens and spaces. */
export function normalizeCode(typed: string): string {
  return typed.replaceAll(/[-\s]/gu, "").toUpperCase();
}

/** A code as it is read out: `ABCD-EFGH`. */
export function displayCode(code: string): string {
  return `${code.slice(0, CODE_LENGTH / 2)}-${code.slice(CODE_LENGTH / 2)}`;
}
