// Circuit breakers, one for each subject that is called: a subject whose calls go unanswered is left alone for a while.
// Only silence counts. An error that a service answers with shows that it works.
import {
  circuitBreaker,
  type CircuitBreakerPolicy,
  ConsecutiveBreaker,
  handleWhen,
  isBrokenCircuitError,
} from "cockatiel";
import { CallError, RpcError, StatusCode } from "./status.ts";

/** Calls in a row without an answer that open a circuit. */
const FAILURES = 5;
/** How long an open circuit stays so before one call may try, in milliseconds. */
const HALF_OPEN_AFTER_MS = 1000;
/** Circuits that are remembered; a subject that answers has none. */
const MOST_CIRCUITS = 1024;

/** The circuits of one client. */
export class Circuits {
  readonly #circuits = new Map<string, CircuitBreakerPolicy>();

  /**
   * Makes an attempt, unless its subject's circuit is open.
   * @throws RpcError UNAVAILABLE, reason `CIRCUIT_OPEN`, in place of an attempt; else what the attempt throws.
   */
  attempt<T>(subject: string, attempt: () => Promise<T>): Promise<T> {
    const circuit = this.#circuits.get(subject);
    return circuit
      ? this.#through(circuit, subject, attempt)
      : attempt().catch((error: unknown) => this.#failed(subject, error));
  }

  /** Whether attempts at a subject go through freely. */
  isClosed(subject: string): boolean {
    return this.#circuits.size === 0 || !this.#circuits.has(subject);
  }

  /** Counts an attempt that was made without {@link attempt}, because its circuit was closed, and failed. */
  async count(subject: string, error: unknown): Promise<void> {
    await this.#failed(subject, error).catch(() => undefined);
  }

  /** Circuits that are not closed, or were not a moment ago. */
  get size(): number {
    return this.#circuits.size;
  }

  async #through<T>(circuit: CircuitBreakerPolicy, subject: string, attempt: () => Promise<T>): Promise<T> {
    try {
      const result = await circuit.execute(attempt);
      this.#circuits.delete(subject);
      return result;
    } catch (error) {
      if (!isBrokenCircuitError(error)) throw error;
      const text = "The service has not answered for a while and is left alone for a moment";
      throw new CallError(StatusCode.UNAVAILABLE, text, { reason: "CIRCUIT_OPEN", retryAfterMs: HALF_OPEN_AFTER_MS });
    }
  }

  /** The first silence makes the circuit, and counts in it. */
  async #failed(subject: string, error: unknown): Promise<never> {
    if (!isSilence(error)) throw error;
    let circuit = this.#circuits.get(subject);
    if (!circuit) {
      if (this.#circuits.size >= MOST_CIRCUITS) this.#circuits.delete(this.#circuits.keys().next().value ?? "");
      circuit = circuitBreaker(handleWhen(isSilence), {
        halfOpenAfter: HALF_OPEN_AFTER_MS,
        breaker: new ConsecutiveBreaker(FAILURES),
      });
      this.#circuits.set(subject, circuit);
    }
    // Counts in it. Where others that were under way opened it meanwhile, this caller still learns what happened to its call.
    await circuit.execute(() => Promise.reject(error as Error)).catch(() => undefined);
    throw error;
  }
}

function isSilence(error: unknown): boolean {
  return error instanceof RpcError && (error.details.reason === "CALL_LOST" || error.details.reason === "NO_ANSWER");
}
