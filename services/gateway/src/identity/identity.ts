// Who a request is made by, once its token has been verified.

export interface Identity {
  /** `device:<id>`, `operator` or `key:<id>`. */
  readonly principal: string;
  readonly tenant: string;
  /** The paired device, where the token is one's. */
  readonly device?: string;
  /** What it holds; `*` is everything. */
  readonly scopes: readonly string[];
  /** When its token ends, in milliseconds since 1970; Infinity for one that does not. */
  readonly expiresAt: number;
}

/** A token that is missing, malformed, expired, revoked or forged: which of these is nobody's business. */
export class Unauthenticated extends Error {
  override readonly name = "Unauthenticated";
  constructor() {
    super("The request needs a valid token");
  }
}

/** Two different tokens in one request: there is no telling which is meant. */
export class AmbiguousToken extends Error {
  override readonly name = "AmbiguousToken";
  constructor() {
    super("The request carries more than one token: send one, in Authorization or in X-Warren-Token");
  }
}
