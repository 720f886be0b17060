// What a handler knows of the call it serves, and what a caller may say of the call it makes.
import type { Caller, CallerAssertion } from "./caller.ts";

/** Options of a call. A handler passes its own {@link CallContext}, so that deadline, cancellation and caller travel on. */
export interface CallOptions {
  /** Ends the call with CANCELLED, here and at the service. */
  readonly signal?: AbortSignal | undefined;
  /** Ends the call with DEADLINE_EXCEEDED: a point on `performance.now()`'s clock, in milliseconds. */
  readonly deadline?: number | undefined;
  /** The same as a span of time. Both given: the earlier. Neither: the contract's own. */
  readonly timeoutMs?: number | undefined;
  /** Makes a second try of the same call harmless at the service. */
  readonly idempotencyKey?: string | undefined;
  /**
   * Makes a second try when the first has not answered after so many milliseconds; the first answer counts, and the other
   * try is cancelled. Only unary methods that the contract calls idempotent, within the same budget as tries that follow a
   * failure; elsewhere it means nothing.
   */
  readonly hedgeAfterMs?: number | undefined;
  /** For whom the call is made. Absent: the calling service itself. */
  readonly assertion?: CallerAssertion | undefined;
}

/** What a handler knows of the call it serves. */
export interface CallContext {
  /** Fires when the caller cancels, the deadline passes, or the service stops. */
  readonly signal: AbortSignal;
  /** When the caller stops waiting: a point on `performance.now()`'s clock, in milliseconds. */
  readonly deadline: number;
  /** The verified caller. */
  readonly caller: Caller;
  /** Its assertion, which nested calls pass on. */
  readonly assertion: CallerAssertion;
  /** Given by the caller: the same key means the same call. */
  readonly idempotencyKey: string | undefined;
  /** Which try this is, from 1. */
  readonly attempt: number;
  /** Where an earlier replica left this stream, in the words of {@link resumable}; undefined: begin at the beginning. */
  readonly resumeFrom: string | undefined;
  /**
   * Says that this stream of answers can go on at another replica when this one leaves. `position` tells where it stands
   * after what was yielded so far: at most 1,024 bytes, which the other replica gets as {@link resumeFrom}; undefined: not
   * here. It is asked at once and after each message, so bring it up to date before the `yield`. The caller notices nothing.
   */
  resumable(position: () => string | undefined): void;
}
