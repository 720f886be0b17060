// A second try before the first has failed (Dean and Barroso, "The Tail at Scale", 2013): the first answer counts, and
// whoever still works for the other is told to stop. Only for calls that may run twice.
import { now } from "./deadline.ts";
import { CallError, RpcError, StatusCode } from "./status.ts";
import type { TimerWheel } from "./timer-wheel.ts";

export interface HedgeOptions {
  /** How long the first try has for itself, in milliseconds. */
  readonly afterMs: number;
  /** Takes a second try from the budget; false when it is spent. */
  readonly withdraw: () => boolean;
  readonly wheel: TimerWheel;
  /** The caller's own. */
  readonly signal: AbortSignal | undefined;
}

/** Makes one try, or two that overlap. @throws whatever a service answered, or the first failure when both found none. */
export function hedged<T>(
  { afterMs, withdraw, wheel, signal }: HedgeOptions,
  attempt: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const tries: AbortController[] = [];
    let first: RpcError | undefined;
    let open = 0;
    const timer = wheel.at(now() + afterMs, () => {
      if (withdraw()) make();
    });
    const abort = (): void => end(signal?.reason);
    const end = (reason: unknown): void => {
      timer.clear();
      signal?.removeEventListener("abort", abort);
      for (const each of tries) each.abort(reason);
    };
    const make = (): void => {
      const own = new AbortController();
      tries.push(own);
      open += 1;
      attempt(own.signal).then(
        (answer) => {
          resolve(answer);
          end(LOSER);
        },
        (error: RpcError) => {
          open -= 1;
          first ??= error;
          // Silence of one says nothing of the other; what a service answers does.
          if (open > 0 && isSilence(error)) return;
          reject(isSilence(error) ? first : error);
          end(LOSER);
        },
      );
    };
    make();
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort);
  });
}

const LOSER = new RpcError(StatusCode.CANCELLED, "Another try of the call was answered first");

function isSilence(error: RpcError): boolean {
  return error instanceof CallError && error.code === StatusCode.UNAVAILABLE;
}
