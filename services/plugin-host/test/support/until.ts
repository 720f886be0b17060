import { waitUntil } from "@warren/testing";

/** Waits until a condition holds. */
export function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<true> {
  return waitUntil(what, timeoutMs, async () => ((await holds()) ? true : undefined));
}
