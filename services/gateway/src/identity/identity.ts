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
  /** The family of the device's refresh tokens (`sid`). */
  readonly family?: string;
  /** The id of an opaque token. */
  readonly credential?: string;
  /** The key that the token is bound to: its RFC 7638 thumbprint. */
  readonly boundTo?: string;
  /** The token is good only with a proof of that key. */
  readonly proofRequired?: boolean;
  /** The key that the caller has proven to hold with this request. */
  readonly key?: string;
  /** The console session, where a cookie brought it. */
  readonly session?: SessionIdentity;
}

/** What the console's routes need of the session that a cookie brought. */
export interface SessionIdentity {
  readonly id: string;
  /** The cookie's value. */
  readonly token: string;
  /** SHA-256 of what a page sends in `X-CSRF-Token`, hexadecimal. */
  readonly csrfHash: string;
  /** When its cookie got its present value, and when its use was last noted, in milliseconds since 1970. */
  readonly rotatedAt: number;
  readonly lastSeenAt: number;
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
