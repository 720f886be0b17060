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

/** How many calls wait for one service. */
export interface ServiceLoad {
  readonly service: string;
  waiting: number;
}

/** The attempts of one client's calls. */
export class Attempts {
  readonly #intercept: Interceptor<OutgoingCall> | undefined;
  readonly #circuits = new Circuits();
  readonly #budget = new RetryBudget();
  readonly #contracts: KnownContracts;
  readonly #loads = new Map<string, ServiceLoad>();

  constructor(interceptors: readonly Interceptor<OutgoingCall>[], contracts: KnownContracts) {
    this.#contracts = contracts;
    this.#intercept = compose(interceptors);
  }

  /** Makes a call. @throws RpcError of the last attempt, or of what stood before the first. */
  make<T>(call: PlannedCall, attempt: MakeAttempt<T>): Promise<T> {
    return this.#intercept ? this.#intercept(call, () => this.#counted(call, attempt)) : this.#counted(call, attempt);
  }

  /**
   * Whether a call's first attempt has nothing around it that must wait for it, so that whoever makes it may do so between
   * {@link enter} and {@link leave} without a promise of its own; {@link recover} goes on where it fails.
   */
  isDirect(subject: string): boolean {
    return this.#intercept === undefined && this.#circuits.isClosed(subject);
  }

  /** The load of a service: one object for as long as the client lives. */
  loadOf(service: string): ServiceLoad {
    let load = this.#loads.get(service);
    if (!load) this.#loads.set(service, (load = { service, waiting: 0 }));
    return load;
  }

  /** Counts a call in. @throws RpcError RESOURCE_EXHAUSTED when too many wait for its service. */
  enter(load: ServiceLoad): void {
    if (load.waiting >= MOST_WAITING)
      throw new CallError(StatusCode.RESOURCE_EXHAUSTED, `${load.waiting} calls wait for ${load.service} already`, {
        reason: "BULKHEAD_FULL",
        retryAfterMs: 1000,
      });
    load.waiting += 1;
    this.#budget.deposit();
  }

  /** Counts it out. */
  leave(load: ServiceLoad): void {
    load.waiting -= 1;
  }

  /** Takes a further try from the budget; false when it is spent. */
  withdraw(): boolean {
    return this.#budget.withdraw();
  }

  /** What comes after a first attempt that was made directly and failed with `error`. */
  async recover<T>(call: PlannedCall, attempt: MakeAttempt<T>, subject: string, error: unknown): Promise<T> {
    await this.#circuits.count(subject, error);
    return this.#again(call, attempt, subject, error as RpcError);
  }

  async #counted<T>(call: PlannedCall, attempt: MakeAttempt<T>): Promise<T> {
    const load = this.loadOf(call.method.service);
    this.enter(load);
    try {
      const subject = callSubject(call.method, call.key);
      return await this.#through(subject, attempt, 1).catch((error: unknown) =>
        this.#again(call, attempt, subject, error as RpcError),
      );
    } finally {
      this.leave(load);
    }
  }

  /** Tries again for as long as that may help; throws the last failure. */
  async #again<T>(call: PlannedCall, attempt: MakeAttempt<T>, subject: string, first: RpcError): Promise<T> {
    const { method, options, deadline } = call;
    const base = methodSubject(method.service, method.name);
    let made = await this.#understood(call, attempt, subject, 1, { error: first });
    for (let count = 1; ; count++) {
      if ("value" in made) return made.value;
      // Nobody holds the key now: any replica can say whether it exists, or bring it up.
      if (subject !== base && neverRan(made.error)) {
        made = await this.#understood(call, attempt, base, count, await settled(this.#through(base, attempt, count)));
        if ("value" in made) return made.value;
      }
      const { error } = made;
      const delay = retryDelayMs(count);
      const again = mayRetry(method, error, count) && remainingMs(deadline) > delay && !options.signal?.aborted;
      // The budget keeps second tries from burying a service that fails; those that reached nobody bury nothing.
      if (!again || !(neverRan(error) || this.#budget.withdraw())) throw error;
      await new Promise((resolve) => setTimeout(resolve, delay));
      const next = await settled(this.#through(subject, attempt, count + 1));
      made = await this.#understood(call, attempt, subject, count + 1, next);
    }
  }

  /** Makes an attempt again that was refused for its contract alone: nothing ran, and each version is learned once. */
  async #understood<T>(
    { method }: PlannedCall,
    attempt: MakeAttempt<T>,
    subject: string,
    count: number,
    outcome: Outcome<T>,
  ): Promise<Outcome<T>> {
    let made = outcome;
    for (;;) {
      if ("value" in made) return made;
      const learned = this.#contracts.learn(method, made.error);
      if (learned !== true) return { error: learned };
      made = await settled(this.#through(subject, attempt, count));
    }
  }

  #through<T>(subject: string, attempt: MakeAttempt<T>, count: number): Promise<T> {
    return this.#circuits.attempt(subject, () => attempt(subject, count));
  }
}

type Outcome<T> = { readonly value: T } | { readonly error: RpcError };

async function settled<T>(attempt: Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await attempt };
  } catch (error) {
    return { error: error as RpcError };
  }
}

/** Where a call goes. @throws RpcError INVALID_ARGUMENT for a key that cannot be a token. */
export function callSubject(method: MethodContract, key: string | undefined): string {
  const base = methodSubject(method.service, method.name);
  return method.keyField === undefined || key === undefined ? base : `${base}.${keyToken(key, method.keyField)}`;
}
