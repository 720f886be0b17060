// What the gateway tells the mesh about a caller: a signed assertion, made once and used for many calls.
import type { Caller, CallerAssertion } from "@warren/mesh";
import type { Identity } from "./identity.ts";
import { Lru } from "./lru.ts";

/** How long an assertion holds, in milliseconds: calls nested in the longest request must still find it valid. */
const LIFETIME_MS = 600_000;
/** An assertion with less left than this is made anew. */
const RENEW_BELOW_MS = 300_000;
const MOST_REMEMBERED = 10_000;

/** Makes assertions, and remembers them: services cache what they verified by its bytes. */
export class Assertions {
  readonly #assert: (caller: Caller) => CallerAssertion;
  readonly #now: () => number;
  readonly #made = new Lru<{ assertion: CallerAssertion; expiresAt: number }>(MOST_REMEMBERED);

  constructor(assert: (caller: Caller) => CallerAssertion, now: () => number = Date.now) {
    this.#assert = assert;
    this.#now = now;
  }

  /** An assertion of who calls, from where. Without an identity: nobody in particular, who holds nothing. */
  of(identity: Identity | undefined, address: string): CallerAssertion {
    const { principal, tenant, device, scopes, key } = identity ?? ANONYMOUS;
    const same = JSON.stringify([principal, tenant, device, scopes, address, key]);
    const known = this.#made.get(same);
    const now = this.#now();
    if (known && known.expiresAt - now > RENEW_BELOW_MS) return known.assertion;
    const expiresAt = now + LIFETIME_MS;
    const caller: Caller = {
      principal,
      tenant,
      ...(device === undefined ? {} : { device }),
      scopes,
      address,
      ...(key === undefined ? {} : { key }),
      expiresAt,
    };
    const assertion = this.#assert(caller);
    this.#made.set(same, { assertion, expiresAt });
    return assertion;
  }
}

/** Who brings no token. */
export const ANONYMOUS: Omit<Identity, "expiresAt"> = { principal: "anonymous", tenant: "default", scopes: [] };
