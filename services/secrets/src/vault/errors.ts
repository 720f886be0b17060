// What can go wrong in the vault. Messages name secrets and keys by name or id; none ever holds a value or key material.

/** Why a call on the vault failed. */
export type VaultErrorCode =
  /** There is no such secret, or no such version of it. */
  | "not_found"
  /** The secret exists although the caller asked to create it. */
  | "already_exists"
  /** The newest version is not the one that the caller named, or others kept writing first. */
  | "conflict"
  /** The value is not one that can be stored. */
  | "invalid_value"
  /** The page token is not one that the vault gave. */
  | "invalid_page_token"
  /** What is stored does not open: changed, cut short, moved from elsewhere, or of a later format. */
  | "corrupt";

/** A failed call on the vault. */
export class VaultError extends Error {
  override readonly name = "VaultError";
  readonly code: VaultErrorCode;

  constructor(code: VaultErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Why a payload does not open. */
export type PayloadErrorCode =
  | "truncated"
  | "unsupported_version"
  | "unsupported_algorithm"
  | "unknown_key"
  | "unauthentic";

/** A payload that does not open. The message says which rule it breaks, nothing of what it holds. */
export class PayloadError extends Error {
  override readonly name = "PayloadError";
  readonly code: PayloadErrorCode;

  constructor(code: PayloadErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Why the key ring cannot be used. */
export type KeyRingErrorCode =
  /** There is a ring, and the root key that it needs is not where the configuration says. */
  | "root_key_missing"
  /** The root key is not the one that sealed the ring. */
  | "root_key_wrong"
  /** The ring was sealed by another kind of root key than the configured one. */
  | "root_key_kind"
  /** The file of the root key or passphrase is open to others, or is not what it should be. */
  | "root_key_unsafe"
  /** Secrets are stored, but the ring that opens them is gone. */
  | "ring_lost"
  /** The stored ring was changed, or replaced by one without the keys in use. */
  | "ring_damaged"
  /** The ring was closed: the service is stopping. */
  | "ring_closed";

/** The vault cannot start or go on. The message says what a person must do. */
export class KeyRingError extends Error {
  override readonly name = "KeyRingError";
  readonly code: KeyRingErrorCode;

  constructor(code: KeyRingErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
