import { posix } from "node:path";
import { PermissionError } from "./errors.ts";
import { hostCovers, hostScopeProblem, parseHostScope } from "./host-scope.ts";

/** What an action's scope is, and so how one scope contains another. */
type ScopeKind = "none" | "path" | "host" | "port" | "name" | "topic" | "secret";

interface ActionRule {
  readonly kind: ScopeKind;
  /** Whether the scope may be left out, which means: all of them. */
  readonly optional?: true;
}

/** Every action there is. What is not in this table cannot be asked for, so cannot be granted. */
const areas = {
  fs: { read: { kind: "path" }, write: { kind: "path" } },
  net: { outbound: { kind: "host" }, listen: { kind: "port" } },
  process: { spawn: { kind: "name", optional: true } },
  system: { info: { kind: "none" }, env: { kind: "name" } },
  ai: { infer: { kind: "name", optional: true }, embed: { kind: "name", optional: true } },
  data: { storage: { kind: "none" }, memory: { kind: "name" }, context: { kind: "topic" } },
  ui: { notify: { kind: "none" }, extend: { kind: "name" } },
  events: { publish: { kind: "topic" }, subscribe: { kind: "topic" } },
  secrets: { lease: { kind: "secret" } },
} as const satisfies Record<string, Record<string, ActionRule>>;

/** The first part of a permission. */
export type PermissionArea = keyof typeof areas;

/** A permission, read. */
export interface Permission {
  readonly area: PermissionArea;
  readonly action: string;
  /** Absent where the action takes none, or where it means all of them. */
  readonly scope: string | undefined;
  /** The whole text. One permission has one spelling. */
  readonly text: string;
}

const maxLength = 512;
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$/;
const secretPattern = /^(?=.{1,128}$)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;
const topicPattern = /^(?:[A-Za-z0-9_-]+\.)*(?:[A-Za-z0-9_-]+|\*)$/;

/**
 * Reads a permission: `area:action[:scope]`.
 *
 * | Permission | Lets the plugin |
 * |---|---|
 * | `fs:read:/srv/docs`, `fs:write:/srv/out` | read, or read and write, a file or everything below a folder |
 * | `net:outbound:api.example.com[:443]`, `…:*.example.com`, `…:*` | connect to a host, to any name below a domain, anywhere |
 * | `net:listen:8080` | accept connections on a port |
 * | `process:spawn[:program]` | start programs |
 * | `system:info`, `system:env:NAME` | see the machine's figures, one variable |
 * | `ai:infer[:model]`, `ai:embed[:model]` | use models, metered to the caller |
 * | `data:storage`, `data:memory:pool`, `data:context:topic.*` | keep data of its own, share memory, share context |
 * | `ui:notify`, `ui:extend:point` | show messages, fill a place in the console |
 * | `events:publish:topic.*`, `events:subscribe:topic.*` | take part in events; a last `*` is everything below |
 * | `secrets:lease:name` | lease one secret |
 *
 * @throws PermissionError saying what is wrong and how it would be right.
 * @example
 * ```ts
 * parsePermission("fs:read:/srv/docs").scope; // "/srv/docs"
 * ```
 */
export function parsePermission(text: string): Permission {
  if (text.length > maxLength) throw new PermissionError(text.slice(0, 64), `is longer than ${maxLength} characters`);
  const [area = "", action = ""] = text.split(":", 2);
  if (!Object.hasOwn(areas, area)) {
    throw new PermissionError(text, `there is no area "${area}"; the areas are ${Object.keys(areas).join(", ")}`);
  }
  const actions: Record<string, ActionRule> = areas[area as PermissionArea];
  const rule = Object.hasOwn(actions, action) ? actions[action] : undefined;
  if (rule === undefined) {
    const known = Object.keys(actions).map((name) => `${area}:${name}`);
    throw new PermissionError(text, `${area} has no action "${action}"; there is ${known.join(", ")}`);
  }
  const head = `${area}:${action}`;
  const scope = text.length > head.length ? text.slice(head.length + 1) : undefined;
  const problem = scopeProblem(rule, scope);
  if (problem !== undefined) throw new PermissionError(text, problem);
  return { area: area as PermissionArea, action, scope, text };
}

/**
 * Whether a set of granted permissions covers a wanted one. Nothing is covered unless a grant says so.
 * A folder covers what is below it; `*.example.com` covers every name below that domain but not the domain itself; a host
 * without a port covers all its ports; writing covers reading, because the kernel cannot mount a folder for writing only.
 *
 * @throws PermissionError when one of them does not follow the grammar.
 * @example
 * ```ts
 * grants(["fs:read:/srv/docs"], "fs:read:/srv/docs/a.txt"); // true
 * grants(["fs:read:/srv/docs"], "fs:read:/srv/docs-private"); // false
 * ```
 */
export function grants(granted: Iterable<string | Permission>, wanted: string | Permission): boolean {
  const want = typeof wanted === "string" ? parsePermission(wanted) : wanted;
  for (const each of granted) {
    if (covers(typeof each === "string" ? parsePermission(each) : each, want)) return true;
  }
  return false;
}

/** Those of the wanted permissions that the granted ones do not cover, in order. */
export function missingGrants(granted: readonly string[], wanted: readonly string[]): string[] {
  const parsed = granted.map(parsePermission);
  return wanted.filter((each) => !grants(parsed, each));
}

function covers(grant: Permission, want: Permission): boolean {
  if (grant.area !== want.area) return false;
  const sameAction = grant.action === want.action;
  if (!sameAction && !(grant.area === "fs" && grant.action === "write" && want.action === "read")) return false;
  if (grant.scope === undefined) return true;
  if (want.scope === undefined) return false;
  const actions: Record<string, ActionRule> = areas[grant.area];
  switch (actions[grant.action]?.kind) {
    case "path":
      return grant.scope === want.scope || want.scope.startsWith(grant.scope === "/" ? "/" : `${grant.scope}/`);
    case "host":
      return hostCovers(parseHostScope(grant.scope), parseHostScope(want.scope));
    case "topic":
      return topicCovers(grant.scope, want.scope);
    default:
      return grant.scope === want.scope;
  }
}

function topicCovers(grant: string, want: string): boolean {
  if (grant === want || grant === "*") return true;
  return grant.endsWith(".*") && want.startsWith(grant.slice(0, -1));
}

function scopeProblem(rule: ActionRule, scope: string | undefined): string | undefined {
  if (rule.kind === "none") return scope === undefined ? undefined : "takes no scope";
  if (scope === undefined) return rule.optional ? undefined : `needs a scope: ${hints[rule.kind]}`;
  return isScope(rule.kind, scope) ? hostProblem(rule.kind, scope) : `the scope must be ${hints[rule.kind]}`;
}

function hostProblem(kind: ScopeKind, scope: string): string | undefined {
  return kind === "host" ? hostScopeProblem(scope) : undefined;
}

const hints: Record<ScopeKind, string> = {
  none: "none",
  path: "an absolute, normalized path such as /srv/docs (no `..`, no `//`, no trailing `/`)",
  host: "a host with or without a port, such as api.example.com:443 or *.example.com",
  port: "a port from 1 to 65535",
  name: "a name of letters, digits and . _ : / @ -",
  topic: "a dotted name, where only the last part may be `*`",
  secret: "a secret's name: letters, digits, _ and -, in parts joined by single dots",
};

function isScope(kind: ScopeKind, scope: string): boolean {
  switch (kind) {
    case "path":
      return isNormalizedPath(scope);
    case "port":
      return /^[1-9]\d{0,4}$/.test(scope) && Number(scope) <= 65_535;
    case "name":
      return namePattern.test(scope);
    case "topic":
      return topicPattern.test(scope);
    case "secret":
      return secretPattern.test(scope);
    default:
      return true;
  }
}

/**
 * `;` is kept free for parameters (`methods`, `maxBytes`, `rate`, `expires`). Characters that a person who is asked to
 * approve the path would not see are refused.
 */
function isNormalizedPath(path: string): boolean {
  if (!path.startsWith("/") || /[\p{Cc}\p{Cf};]/u.test(path) || !path.isWellFormed()) return false;
  return posix.normalize(path) === path && (path === "/" || !path.endsWith("/"));
}
