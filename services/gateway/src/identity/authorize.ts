// What an identity may do: it holds the scope that the contract names, or it may not.
import type { Identity } from "./identity.ts";

/** Known to the contract: no token is needed. */
export const PUBLIC_SCOPE = "public";
/** Known to the contract: only services call it, over the mesh. */
export const INTERNAL_SCOPE = "internal";

/** Known to routes written by hand: any token will do. */
export const AUTHENTICATED_SCOPE = "authenticated";

/** Whether an identity holds a scope. `*` is every scope but `internal`, which nobody holds at the edge. */
export function holds(identity: Pick<Identity, "scopes">, scope: string): boolean {
  if (scope === INTERNAL_SCOPE || scope === "") return false;
  if (scope === AUTHENTICATED_SCOPE) return true;
  return identity.scopes.includes("*") || identity.scopes.includes(scope);
}

/** The caller is known, and lacks a scope. */
export class ScopeMissing extends Error {
  override readonly name = "ScopeMissing";
  readonly scope: string;
  constructor(scope: string) {
    super(`The token does not hold the scope ${scope}`);
    this.scope = scope;
  }
}
