// Values on loan to plugin processes: who has what, until when. The values themselves are not kept.
import { randomUUID } from "node:crypto";

/** How long a lease lasts when the host names no time, in seconds. */
export const DEFAULT_TTL_SECONDS = 300;

/** The process of a plugin that a lease is bound to. */
export interface LeaseHolder {
  readonly tenant: string;
  readonly pluginId: string;
  readonly instanceId: string;
}

/** One lease. */
export interface LeaseRecord extends LeaseHolder {
  /** Random, unguessable. */
  readonly id: string;
  /** The secret's name. */
  readonly name: string;
  readonly version: number;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** What leases need. */
export interface LeasesOptions {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly newId?: () => string;
}

/** The leases that this replica has given. */
export class Leases {
  readonly #now: () => number;
  readonly #newId: () => string;
  readonly #held = new Map<string, Map<string, LeaseRecord>>();

  constructor(options: LeasesOptions = {}) {
    this.#now = options.now ?? Date.now;
    this.#newId = options.newId ?? randomUUID;
  }

  /** Gives `holder` a lease for so many seconds (0: 300). It replaces the one that the same process has of the same secret. */
  grant(holder: LeaseHolder, secret: { name: string; version: number }, ttlSeconds: number): LeaseRecord {
    this.#dropExpired();
    const { tenant, pluginId, instanceId } = holder;
    const { name, version } = secret;
    const expiresAt = this.#now() + (ttlSeconds || DEFAULT_TTL_SECONDS) * 1000;
    const lease = { id: this.#newId(), tenant, pluginId, instanceId, name, version, expiresAt };
    const key = keyOf(holder);
    const held = this.#held.get(key) ?? new Map<string, LeaseRecord>();
    this.#held.set(key, held.set(name, lease));
    return lease;
  }

  /** Ends every lease of a process. Returns those that had not expired. */
  revoke(holder: LeaseHolder): LeaseRecord[] {
    const ended = this.heldBy(holder);
    this.#held.delete(keyOf(holder));
    return ended;
  }

  /** The leases of a process that have not expired. */
  heldBy(holder: LeaseHolder): LeaseRecord[] {
    const time = this.#now();
    return [...(this.#held.get(keyOf(holder))?.values() ?? [])].filter((lease) => lease.expiresAt > time);
  }

  /** How many leases there are that have not expired. */
  get size(): number {
    this.#dropExpired();
    return [...this.#held.values()].reduce((count, held) => count + held.size, 0);
  }

  #dropExpired(): void {
    const time = this.#now();
    for (const [key, held] of this.#held) {
      for (const [name, lease] of held) if (lease.expiresAt <= time) held.delete(name);
      if (held.size === 0) this.#held.delete(key);
    }
  }
}

function keyOf({ tenant, pluginId, instanceId }: LeaseHolder): string {
  return JSON.stringify([tenant, pluginId, instanceId]);
}
