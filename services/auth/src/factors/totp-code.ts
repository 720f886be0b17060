// Time-based one-time passwords (RFC 6238): SHA-1, six digits, 30 seconds, which is what every app does.
import { Secret, TOTP } from "otpauth";
import { equalInConstantTime } from "../hash.ts";

/** Length of a step, in milliseconds. */
export const STEP_MS = 30_000;
/** Steps before and after the present one whose passwords are taken: clocks differ, and people type. */
const WINDOW = 1;
const SECRET_BYTES = 20;

/** A new secret, in base32. */
export function newTotpSecret(): string {
  return new Secret({ size: SECRET_BYTES }).base32;
}

/** The secret for an app: `otpauth://totp/…`. */
export function totpUri(secret: string, label: string): string {
  return totp(secret, label).toString();
}

/** The step of a time (milliseconds since 1970). */
export function stepOf(time: number): number {
  return Math.floor(time / STEP_MS);
}

/** The password of a step. */
export function totpAt(secret: string, step: number): string {
  return totp(secret, "").generate({ timestamp: step * STEP_MS });
}

/**
 * The step whose password this is, of those around `time` that come after `lastStep`; undefined: none.
 * All of them are compared, in constant time: how long it takes tells nothing of which was right.
 */
export function matchingStep(secret: string, typed: string, time: number, lastStep: number): number | undefined {
  const now = stepOf(time);
  let found: number | undefined;
  for (let step = now - WINDOW; step <= now + WINDOW; step++) {
    const same = equalInConstantTime(totpAt(secret, step), typed);
    if (same && step > lastStep) found = step;
  }
  return found;
}

function totp(secret: string, label: string): TOTP {
  return new TOTP({ issuer: "Warren", label, secret: Secret.fromBase32(secret), period: STEP_MS / 1000 });
}
