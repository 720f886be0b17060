// What a plugin was granted: checked when it is granted, and again whenever it is used.
import { grants as covers, missingGrants, parsePermission, PermissionError } from "@warren/plugin-manifest";

/** Grants that cannot be given. The message is for the person who gives them. */
export class GrantsRefused extends Error {
  override readonly name = "GrantsRefused";
  /** Whether the text itself is wrong, rather than what it asks for. */
  readonly malformed: boolean;
  constructor(message: string, malformed = false) {
    super(message);
    this.malformed = malformed;
  }
}

/** The plugin uses something that was not granted. */
export class PermissionDenied extends Error {
  override readonly name = "PermissionDenied";
  constructor(permission: string) {
    super(`The permission ${permission} was not granted`);
  }
}

/** What this version can enforce. A grant of anything else would promise what does not happen. */
const ENFORCED = new Set(["fs:read", "fs:write", "secrets:lease"]);

/**
 * Checks grants before they are given.
 * @throws GrantsRefused for text that is no permission, for what this version cannot enforce, and when a permission that
 * the manifest requires is not among them.
 */
export function checkGrants(granted: readonly string[], required: readonly string[]): void {
  for (const text of granted) {
    const { area, action } = parse(text);
    if (ENFORCED.has(`${area}:${action}`)) continue;
    const hint =
      area === "net"
        ? "plugins have no network in this version"
        : `this version grants only ${[...ENFORCED].join(", ")}`;
    throw new GrantsRefused(`${text} cannot be granted: ${hint}`);
  }
  const missing = missingGrants(granted, required);
  if (missing.length)
    throw new GrantsRefused(
      `The plugin requires permissions that were not granted: ${missing.join(", ")}. Grant them to install it`,
    );
}

function parse(text: string): ReturnType<typeof parsePermission> {
  try {
    return parsePermission(text);
  } catch (error) {
    if (error instanceof PermissionError) throw new GrantsRefused(error.message, true);
    throw error;
  }
}

/** The grants of one plugin, asked at run time. */
export class Guard {
  readonly #granted: readonly ReturnType<typeof parsePermission>[];

  constructor(granted: readonly string[]) {
    this.#granted = granted.map(parsePermission);
  }

  /** @throws PermissionDenied when no grant covers the permission, or it is none. */
  require(permission: string): void {
    try {
      if (covers(this.#granted, permission)) return;
    } catch (error) {
      if (!(error instanceof PermissionError)) throw error;
    }
    throw new PermissionDenied(permission);
  }
}
