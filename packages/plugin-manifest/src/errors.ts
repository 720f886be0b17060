/** One thing that is wrong in a manifest: where, as a path such as `limits.cpus`, and what. */
export interface ManifestProblem {
  readonly path: string;
  readonly message: string;
}

/** A `plugin.json` that cannot be used. `problems` lists everything that is wrong with it, not only the first. */
export class ManifestError extends Error {
  override readonly name = "ManifestError";
  readonly code = "MANIFEST_INVALID";
  readonly problems: readonly ManifestProblem[];

  constructor(problems: readonly ManifestProblem[]) {
    super(`plugin.json is not valid:\n${problems.map(({ path, message }) => `- ${path}: ${message}`).join("\n")}`);
    this.problems = problems;
  }
}

/** A permission that does not follow the grammar `area:action[:scope]`. */
export class PermissionError extends Error {
  override readonly name = "PermissionError";
  readonly code = "PERMISSION_INVALID";
  /** The text as it was given. */
  readonly permission: string;

  constructor(permission: string, reason: string) {
    super(`permission ${JSON.stringify(permission)}: ${reason}`);
    this.permission = permission;
  }
}

/** Why a package was refused. */
export type PackageErrorCode =
  /** The bytes are not those the digest names, or the digest itself is malformed. */
  | "DIGEST_MISMATCH"
  /** More bytes or more files than the bounds allow. */
  | "TOO_LARGE"
  /** An entry that no package may hold: a link, a device, a path outside the root, two names that collide. */
  | "ENTRY_REFUSED"
  /** Not a gzip'd tar, or cut short. */
  | "DAMAGED"
  /** The files do not agree with the manifest: no `plugin.json`, no entry point, a pinned hash that differs. */
  | "CONTENT_MISMATCH";

/** A package that cannot be made or will not be unpacked. */
export class PackageError extends Error {
  override readonly name = "PackageError";
  readonly code: PackageErrorCode;

  constructor(code: PackageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Why a signature does not count. */
export type SignatureErrorCode = "MALFORMED" | "UNKNOWN_KEY" | "REVOKED_KEY" | "EXPIRED" | "BAD_SIGNATURE" | "MISMATCH";

/** A signature that does not vouch for the package it came with. */
export class SignatureError extends Error {
  override readonly name = "SignatureError";
  readonly code: SignatureErrorCode;

  constructor(code: SignatureErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
