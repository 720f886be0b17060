// What a caller may hold. The contract names the scope that each method needs.
import { RpcError, StatusCode } from "@warren/mesh";

/** Every scope that a device may ask for. `*` is the operator's alone. */
export const KNOWN_SCOPES: readonly string[] = [
  "chat",
  "sessions:read",
  "plugins:read",
  "plugins:call",
  "plugins:write",
  "secrets:read",
  "secrets:write",
  "devices:read",
  "devices:write",
  "devices:admin",
  "traces:read",
  "health:read",
  "limits:read",
];

/** What a device gets that asks for nothing. Its `devices:*` reach only itself. */
export const DEFAULT_SCOPES: readonly string[] = [
  "chat",
  "sessions:read",
  "plugins:read",
  "plugins:call",
  "devices:read",
  "devices:write",
  "traces:read",
];

/**
 * The scopes of a device that asks for `wanted`: without repetition, in the order of {@link KNOWN_SCOPES}.
 * @throws RpcError INVALID_ARGUMENT naming each entry that is no scope.
 */
export function requestedScopes(wanted: readonly string[]): string[] {
  if (wanted.length === 0) return [...DEFAULT_SCOPES];
  const violations = wanted.flatMap((scope, i) =>
    KNOWN_SCOPES.includes(scope)
      ? []
      : [{ field: `scopes[${i}]`, description: `is not a scope: use some of ${KNOWN_SCOPES.join(", ")}` }],
  );
  if (violations.length)
    throw new RpcError(StatusCode.INVALID_ARGUMENT, "The pairing asks for scopes that do not exist", { violations });
  return KNOWN_SCOPES.filter((scope) => wanted.includes(scope));
}
