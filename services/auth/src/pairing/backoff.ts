// Failed attempts, counted durably: by compare-and-set, before the attempt is judged, for every replica together.
import { lostRace, RpcError, StatusCode } from "@warren/mesh";
import type { Clock } from "../clock.ts";
import { change, type Store } from "../compare-and-set.ts";

/** How long one must wait after failures, in milliseconds. */
export interface BackoffPolicy {
  /** Failures that cost no wait. */
  readonly free: number;
  /** The wait after the first that does; it doubles with each further one. */
  readonly baseMs: number;
  readonly maxMs: number;
}

/** Attempts on one pairing: 1, 2, 4, 8 s, then it is locked. */
export const PAIRING_BACKOFF: BackoffPolicy = { free: 0, baseMs: 1_000, maxMs: 60_000 };
/** Attempts from one network: generous to a family behind one address, for each pairing has its own bound. */
export const NETWORK_BACKOFF: BackoffPolicy = { free: 10, baseMs: 1_000, maxMs: 300_000 };
/**
 * Attempts from everywhere. Under attack one guess a second passes: some 27,000 years for one hit. A longer wait would
 * let attackers lock people out.
 */
export const FLEET_BACKOFF: BackoffPolicy = { free: 100, baseMs: 250, maxMs: 1_000 };
/** Failures are forgotten this long after the last one, in milliseconds. The bucket's TTL may not be shorter. */
export const FORGET_MS = 300_000;

/** The wait after `failures`, in milliseconds: min(max, base · 2^(failures − free − 1)). */
export function waitAfter(failures: number, { free, baseMs, maxMs }: BackoffPolicy): number {
  if (failures <= free) return 0;
  return Math.min(maxMs, baseMs * 2 ** Math.min(30, failures - free - 1));
}

/** The stored count of one network or of the fleet. Times in milliseconds since 1970. */
export interface AttemptRecord {
  readonly failures: number;
  readonly lastAt: number;
  readonly notBefore: number;
}

/** Counts attempts under a key. */
export interface AttemptCounter {
  /** @throws RpcError RESOURCE_EXHAUSTED with the time to wait, when it is too early for another attempt. Counts nothing. */
  check(key: string): Promise<void>;
  /** Counts an attempt, before it is judged. @throws RpcError RESOURCE_EXHAUSTED when it is too early; that one is not counted. */
  claim(key: string): Promise<void>;
  /** Takes an attempt back that turned out right. */
  refund(key: string): Promise<void>;
}

/** A counter with one policy, in `kv` under `<prefix>.<key>`. */
export function createAttemptCounter(deps: {
  readonly kv: Store<AttemptRecord>;
  readonly prefix: string;
  readonly policy: BackoffPolicy;
  readonly clock: Clock;
}): AttemptCounter {
  const { kv, prefix, policy, clock } = deps;
  const at = (key: string): string => `${prefix}.${key}`;
  const failuresOf = (record: AttemptRecord | undefined): number =>
    record && clock() - record.lastAt < FORGET_MS ? record.failures : 0;
  const refuseEarly = (record: AttemptRecord | undefined): void => {
    if (record && failuresOf(record) > 0) refuseBefore(record.notBefore, clock());
  };
  return {
    async check(key) {
      refuseEarly((await kv.get(at(key)))?.value);
    },
    async claim(key) {
      try {
        await change(kv, at(key), (record) => {
          refuseEarly(record);
          const failures = failuresOf(record) + 1;
          return { failures, lastAt: clock(), notBefore: clock() + waitAfter(failures, policy) };
        });
      } catch (error) {
        // So many at once that this one never got its turn: that is what the counter is there to slow down.
        if (lostRace(error)) throw tooEarly(policy.baseMs);
        throw error;
      }
    },
    async refund(key) {
      await change(kv, at(key), (record) => {
        if (!record) return undefined;
        const failures = Math.max(0, failuresOf(record) - 1);
        return { ...record, failures, notBefore: record.lastAt + waitAfter(failures, policy) };
      });
    },
  };
}

/** @throws RpcError RESOURCE_EXHAUSTED when `now` is before `notBefore` (both in milliseconds since 1970). */
export function refuseBefore(notBefore: number, now: number): void {
  if (now < notBefore) throw tooEarly(notBefore - now);
}

function tooEarly(waitMs: number): RpcError {
  const retryAfterMs = Math.ceil(waitMs);
  const seconds = Math.ceil(retryAfterMs / 1000);
  return new RpcError(StatusCode.RESOURCE_EXHAUSTED, `Too many attempts: try again in ${seconds} s`, {
    reason: "PAIRING_BACKOFF",
    retryAfterMs,
  });
}
