// Roles: sets of scopes by the names people use. What is not named here, a role does not hold.
import { methods } from "./methods.ts";

/** Scopes that no method of a contract asks for: routes written by hand do. */
const HAND_WRITTEN = ["health:read", "limits:read", "limits:admin"];
/** What a contract writes in place of a scope. */
const NO_SCOPES: ReadonlySet<string> = new Set(["public", "internal"]);

const VIEWER = [
  "sessions:read",
  "plugins:read",
  "events:read",
  "devices:read",
  "traces:read",
  "health:read",
  "limits:read",
];
/** Talks with the agent and calls tools. Its `devices:*` reach only itself. */
const USER = ["chat", "sessions:read", "plugins:read", "plugins:call", "devices:read", "devices:write", "traces:read"];
const MACHINE = ["chat", "sessions:read", "plugins:read", "plugins:call"];

/** Every scope that there is, by name, in the order of the alphabet. `*`, the operator's, stands for all of them. */
export const allScopes: readonly string[] = [
  ...new Set([
    ...[...methods.values()].map(({ scope }) => scope).filter((scope) => !NO_SCOPES.has(scope)),
    ...HAND_WRITTEN,
    ...VIEWER,
    ...USER,
    ...MACHINE,
  ]),
].sort();

/**
 * The roles. A scope that a contract adds belongs to `admin` until somebody gives it to another role here.
 * The operator is no role: its token lies on the machine, and holds `*`.
 */
export const roles = {
  viewer: VIEWER,
  user: USER,
  machine: MACHINE,
  admin: allScopes,
} as const satisfies Record<string, readonly string[]>;

/** The name of a role. */
export type RoleName = keyof typeof roles;

/** The scopes of a role; undefined when there is none of this name. */
export function scopesOfRole(name: string): readonly string[] | undefined {
  return Object.hasOwn(roles, name) ? roles[name as RoleName] : undefined;
}
