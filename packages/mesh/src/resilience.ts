// When a failed call may be made again.
import type { MethodContract } from "@warren/contract";
import { type RpcError, StatusCode } from "./status.ts";

const MAX_ATTEMPTS = 4;
/** A call that reached nobody costs nobody anything: it outlasts the moment in which one replica goes and the next is not known everywhere yet. */
const MAX_UNHEARD = 6;
const BASE_DELAY_MS = 40;
const MAX_DELAY_MS = 1000;

/**
 * A budget of retries: one tenth of the calls made (plus a few to start with), so that a failing service is not
 * buried under second tries (Google SRE book, ch. 22).
 */
export class RetryBudget {
  readonly #ratio: number;
  readonly #most: number;
  #tokens: number;

  constructor(ratio = 0.1, most = 100) {
    this.#ratio = ratio;
    this.#most = most;
    this.#tokens = most;
  }

  /** Counts a call. */
  deposit(): void {
    this.#tokens = Math.min(this.#most, this.#tokens + this.#ratio);
  }

  /** Takes one retry; false when the budget is spent. */
  withdraw(): boolean {
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}

/**
 * Whether a failed call may be made again. Nobody listened, or a draining service declined it unseen: any method. The
 * outcome is unknown: only methods that the contract calls idempotent. A time that ran out is never tried again.
 */
export function mayRetry(method: MethodContract, error: RpcError, attempt: number): boolean {
  if (error.code !== StatusCode.UNAVAILABLE) return false;
  if (neverRan(error)) return attempt < MAX_UNHEARD;
  return attempt < MAX_ATTEMPTS && method.idempotent && error.details.reason === "DISCONNECTED";
}

/** The request reached no handler. */
export function neverRan(error: RpcError): boolean {
  return error.details.reason === "NO_RESPONDERS" || error.details.reason === "DRAINING";
}

/** Full jitter (Brooker, "Exponential Backoff And Jitter", 2015), in milliseconds. */
export function retryDelayMs(attempt: number, random: () => number = Math.random): number {
  return random() * Math.min(MAX_DELAY_MS, BASE_DELAY_MS * 2 ** attempt);
}
