// A call as one or more attempts: interceptors, then the bulkhead, then for each attempt the subject and its circuit, then
// whether to try again.
import type { MethodContract } from "@warren/contract";
import type { CallOptions } from "./call-context.ts";
import { Circuits } from "./circuits.ts";
import type { KnownContracts } from "./contracts.ts";
import { remainingMs } from "./deadline.ts";
import { compose, type Interceptor, type OutgoingCall } from "./interceptor.ts";
import { mayRetry, neverRan, RetryBudget, retryDelayMs } from "./resilience.ts";
import { CallError, type RpcError, StatusCode } from "./status.ts";
import { keyToken, methodSubject } from "./subject.ts";

/** Calls that may wait for one service at once: one that stalls does not take all memory with it. */
const MOST_WAITING = 20_000;

/** A call before its first attempt. */
export interface PlannedCall extends OutgoingCall {
  readonly key: string | undefined;
  readonly options: CallOptions;
  readonly deadline: number;
}

/** Makes one attempt at a subject; attempts count from 1. */
export type MakeAttempt<T> = (subject: string, attempt: number) => Promise<T>;

/** The attempts of one client's calls. */
export class Attempts {
  readonly #intercept: Interceptor<OutgoingCall> | undefined;
  readonly #circuits = new Circuits();
  readonly #budget = new RetryBudget();
  readonly #contracts: KnownContracts;
  readonly #waiting = new Map<string, number>();

  constructor(interceptors: readonly Interceptor<OutgoingCall>[], contracts: KnownContracts) {
    this.#contracts = contracts;
    this.#intercept = compose(interceptors);
  }

  /** Makes a call. @throws RpcError of the last attempt, or of what stood before the first. */
  make<T>(call: PlannedCall, attempt: MakeAttempt<T>): Promise<T> {
    return this.#intercept ? this.#intercept(call, () => this.#counted(call, attempt)) : this.#counted(call, attempt);
  }

  async #counted<T>(call: PlannedCall, attempt: MakeAttempt<T>): Promise<T> {
    const { service } = call.method;
    const waiting = this.#waiting.get(service) ?? 0;
    if (waiting >= MOST_WAITING)
      throw new CallError(StatusCode.RESOURCE_EXHAUSTED, `${waiting} calls wait for ${service} already`, {
        reason: "BULKHEAD_FULL",
        retryAfterMs: 1000,
      });
    this.#waiting.set(service, waiting + 1);
    try {
      return await this.#retried(call, (subject, count) =>
        this.#circuits.attempt(subject, () => attempt(subject, count)),
      );
    } finally {
      this.#waiting.set(service, (this.#waiting.get(service) ?? 1) - 1);
    }
  }

  async #retried<T>({ method, key, options, deadline }: PlannedCall, attempt: MakeAttempt<T>): Promise<T> {
    this.#budget.deposit();
    const base = methodSubject(method.service, method.name);
    const subject = subjectOf(method, base, key);
    const understood: MakeAttempt<T> = (to, count) =>
      attempt(to, count).catch((error: RpcError) => {
        // Nothing ran: it is still the same attempt. Each version is learned once.
        const learned = this.#contracts.learn(method, error);
        if (learned !== true) throw learned;
        return understood(to, count);
      });
    for (let count = 1; ; count++) {
      try {
        return await understood(subject, count).catch((error: RpcError) => {
          // Nobody holds the key now: any replica can say whether it exists, or bring it up.
          if (subject !== base && neverRan(error)) return understood(base, count);
          throw error;
        });
      } catch (error) {
        const delay = retryDelayMs(count);
        const again =
          mayRetry(method, error as RpcError, count) && remainingMs(deadline) > delay && !options.signal?.aborted;
        // The budget keeps second tries from burying a service that fails; those that reached nobody bury nothing.
        if (!again || !(neverRan(error as RpcError) || this.#budget.withdraw())) throw error;
        await new Promise((resolve) => setTimeout(resolve, delay));
      }
    }
  }
}

function subjectOf(method: MethodContract, base: string, key: string | undefined): string {
  return method.keyField === undefined || key === undefined ? base : `${base}.${keyToken(key, method.keyField)}`;
}
