// Versions of contracts at run time: a caller says which it knows, a service of another version refuses the call before
// anything runs and shows its own, and the caller judges whether the two understand each other. It costs a call nothing but
// a few letters, and a pair of versions one call more, once.
import { incompatibilities, type MethodContract, type MethodShape } from "@warren/contract";
import { CallError, RpcError, StatusCode } from "./status.ts";

/** A service's refusal of a version that it does not know. */
const UNKNOWN = "CONTRACT_UNKNOWN";
/** Versions that one call names: the caller's own, and the last of others that it found to be as good. */
const MOST_NAMED = 4;

/**
 * Refuses a call whose caller knows other versions of the contract alone.
 * @param named What the call says; undefined: nothing, as callers do that know only the wire protocol.
 * @throws RpcError FAILED_PRECONDITION with the service's version, by which the caller can judge.
 */
export function assertKnown({ path, hash, shape }: MethodContract, named: string | undefined): void {
  if (named === undefined || named.includes(hash)) return;
  throw new RpcError(StatusCode.FAILED_PRECONDITION, `${path} has another contract here than at its caller`, {
    reason: UNKNOWN,
    metadata: { hash, contract: JSON.stringify(shape) },
  });
}

/** The versions that a caller has found to understand. */
export class KnownContracts {
  readonly #named = new Map<string, string>();

  /** What to say in a call. */
  of({ path, hash }: MethodContract): string {
    return this.#named.get(path) ?? hash;
  }

  /**
   * What to make of a failure.
   * @returns true when the call, which did not run, is to be made again; else the error that it ends with.
   */
  learn(method: MethodContract, error: RpcError): true | RpcError {
    if (error.details.reason !== UNKNOWN) return error;
    const { hash = "", contract = "" } = error.details.metadata ?? {};
    const known = this.of(method).split(",");
    // It refused what it was told: it is no service that keeps to the protocol.
    if (!/^[A-Za-z0-9_-]{8}$/.test(hash) || known.includes(hash)) return error;
    const problems = judge(method.shape, contract);
    if (problems.length > 0)
      return new CallError(
        StatusCode.FAILED_PRECONDITION,
        `${method.path} is served by an incompatible version of its contract: ${problems.join("; ")}`,
        { reason: "CONTRACT_MISMATCH" },
      );
    const [own = method.hash, ...others] = known;
    this.#named.set(method.path, [own, ...others.slice(-(MOST_NAMED - 2)), hash].join(","));
    return true;
  }
}

function judge(own: MethodShape, text: string): string[] {
  try {
    return incompatibilities(own, JSON.parse(text) as MethodShape);
  } catch {
    return ["it cannot be read"];
  }
}
