// What a caller may hold. The contract names the scope that each method needs, and the roles.
import { allScopes, roles, scopesOfRole } from "@warren/contract";
import { RpcError, StatusCode } from "@warren/mesh";

/** Every scope that a device or a key may ask for. `*` is the operator's alone. */
export const KNOWN_SCOPES: readonly string[] = allScopes;

/** What a device gets that asks for nothing. Its `devices:*` reach only itself. */
export const DEFAULT_SCOPES: readonly string[] = roles.user;

/** What somebody asks for: scopes, or a role in their place. */
export interface ScopeWish {
  readonly scopes: readonly string[];
  readonly role?: string;
}

/**
 * The scopes of a device or key that asks for `wish`: without repetition, in the order of {@link KNOWN_SCOPES}; those of
 * `otherwise` when it asks for nothing.
 * @throws RpcError INVALID_ARGUMENT naming each entry that is no scope, a role that there is not, or both at once.
 */
export function requestedScopes(wish: ScopeWish, otherwise: readonly string[] = DEFAULT_SCOPES): string[] {
  const { scopes, role = "" } = wish;
  if (role !== "" && scopes.length > 0) throw invalid("role", "excludes scopes: name one of the two");
  if (role !== "") {
    const found = scopesOfRole(role);
    if (!found) throw invalid("role", `is not a role: use one of ${Object.keys(roles).join(", ")}`);
    return [...found];
  }
  if (scopes.length === 0) return [...otherwise];
  const violations = scopes.flatMap((scope, i) =>
    KNOWN_SCOPES.includes(scope)
      ? []
      : [{ field: `scopes[${i}]`, description: `is not a scope: use some of ${KNOWN_SCOPES.join(", ")}` }],
  );
  if (violations.length)
    throw new RpcError(StatusCode.INVALID_ARGUMENT, "The request asks for scopes that do not exist", { violations });
  return KNOWN_SCOPES.filter((scope) => scopes.includes(scope));
}

function invalid(field: string, description: string): RpcError {
  return new RpcError(StatusCode.INVALID_ARGUMENT, `The ${field} ${description}`, {
    violations: [{ field, description }],
  });
}
