// The vault: versions of secrets, sealed before the store sees them. Two vaults on one store are two replicas of it.
import { randomBytes } from "node:crypto";
import type { SecretStore } from "../store/store.ts";
import { PayloadError, VaultError } from "./errors.ts";
import { SECRET_KEYS, secretKey, tenantKeys } from "./keys.ts";
import { pageOf } from "./page.ts";
import * as records from "./record.ts";
import type { SealedSecret, Sealer, SecretId, SecretRecord } from "./record.ts";
import { serial } from "./serial.ts";

/** The longest value, in bytes of UTF-8. */
export const MAX_VALUE_BYTES = 64 * 1024;
/** How many versions of a secret are kept. */
export const KEPT_VERSIONS = 10;

/** A secret without its value. */
export interface SecretInfo {
  readonly name: string;
  /** The newest version, from 1. */
  readonly version: number;
  readonly description: string;
  readonly createTime: Date;
  readonly updateTime: Date;
}

/** One version with its value. */
export interface SecretVersion {
  readonly name: string;
  readonly version: number;
  readonly value: string;
  /** When this version was written. */
  readonly updateTime: Date;
}

/** A new version to write. */
export interface NewVersion extends SecretId {
  readonly value: string;
  /** Only write if this is the newest version; 0: only create. */
  readonly ifVersion?: number | undefined;
  /** Empty: as before. */
  readonly description?: string;
}

/** Tells who watches for roll-backs that a write is about to start; what it returns is told the revision. */
export type WriteObserver = () => (revision: number) => void;

/** What a vault is made of. */
export interface VaultOptions {
  readonly store: SecretStore;
  readonly ring: Sealer;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly observeWrite?: WriteObserver;
}

interface Found {
  readonly sealed: SealedSecret;
  readonly record: SecretRecord;
  readonly revision: number;
}

const MAX_ATTEMPTS = 200;
const READS_AT_ONCE = 16;

/** Every method rejects with VaultError, KeyRingError, or the store's own error; after the latter the outcome of a write is unknown. */
export class Vault {
  readonly #store: SecretStore;
  readonly #ring: Sealer;
  readonly #now: () => number;
  readonly #observeWrite: WriteObserver;
  // Writers of one replica take turns, so that the compare-and-set meets only the other replicas.
  readonly #inTurn = serial();

  constructor(options: VaultOptions) {
    this.#store = options.store;
    this.#ring = options.ring;
    this.#now = options.now ?? Date.now;
    this.#observeWrite = options.observeWrite ?? (() => () => undefined);
  }

  /** Writes a new version. Either the whole version is stored, or the secret is as it was. */
  async put(version: NewVersion, signal?: AbortSignal): Promise<SecretInfo> {
    checkValue(version.value);
    return this.#inTurn(secretKey(version), async () => {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
        signal?.throwIfAborted();
        const found = await this.#find(version);
        checkExpected(version, found?.record.versions.at(-1)?.version ?? 0);
        const { record, bytes } = await this.#append(version, found);
        const written = this.#observeWrite();
        const revision = await this.#store.write(secretKey(version), bytes, found?.revision ?? 0);
        if (revision === undefined) continue;
        written(revision);
        return infoOf(version.name, record);
      }
      throw new VaultError("conflict", `Others kept writing secret "${version.name}": try again`);
    });
  }

  /** Reads a version; 0: the newest. */
  async get(id: SecretId, version = 0): Promise<SecretVersion> {
    const found = await this.#find(id);
    if (!found) throw missing(id.name);
    const { uid, versions } = found.record;
    const index = version === 0 ? versions.length - 1 : versions.findIndex((each) => each.version === version);
    const kept = versions[index];
    const payload = found.sealed.values[index];
    if (!kept || !payload) {
      const range = `${versions[0]?.version} to ${versions.at(-1)?.version}`;
      throw new VaultError("not_found", `Secret "${id.name}" has no version ${version}: it has ${range}`);
    }
    const value = await corruptIfUnreadable(id.name, records.openValue(this.#ring, id, uid, kept.version, payload));
    return { name: id.name, version: kept.version, value, updateTime: new Date(kept.createTime) };
  }

  /** A page of a tenant's secrets, sorted by name. */
  async list(tenant: string, size: number, token: string): Promise<{ secrets: SecretInfo[]; nextPageToken: string }> {
    const prefix = tenantKeys(tenant);
    const names = (await this.#store.keys(prefix)).map((key) => key.slice(prefix.length + 1));
    const page = pageOf(names, size, token);
    const secrets: SecretInfo[] = [];
    for (let start = 0; start < page.names.length; start += READS_AT_ONCE) {
      const some = page.names.slice(start, start + READS_AT_ONCE);
      const found = await Promise.all(some.map((name) => this.#find({ tenant, name })));
      // One that was deleted since its name was listed is left out.
      some.forEach((name, index) => found[index] && secrets.push(infoOf(name, found[index].record)));
    }
    return { secrets, nextPageToken: page.nextPageToken };
  }

  /** Removes a secret with every version, readable or not. False when there is none. */
  delete(id: SecretId, signal?: AbortSignal): Promise<boolean> {
    return this.#inTurn(secretKey(id), async () => {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
        signal?.throwIfAborted();
        const entry = await this.#store.read(secretKey(id));
        if (!entry) return false;
        if (await this.#store.remove(secretKey(id), entry.revision)) return true;
      }
      throw new VaultError("conflict", `Others kept writing secret "${id.name}": try again`);
    });
  }

  async #find(id: SecretId): Promise<Found | undefined> {
    const entry = await this.#store.read(secretKey(id));
    if (!entry) return undefined;
    const opened = async () => {
      const sealed = records.decodeSecret(entry.value);
      return { sealed, record: await records.openRecord(this.#ring, id, sealed), revision: entry.revision };
    };
    return corruptIfUnreadable(id.name, opened());
  }

  async #append(version: NewVersion, found: Found | undefined): Promise<{ record: SecretRecord; bytes: Buffer }> {
    const now = this.#now();
    const earlier = found?.record.versions ?? [];
    const number = (earlier.at(-1)?.version ?? 0) + 1;
    const uid = found?.record.uid ?? randomBytes(12).toString("base64url");
    const value = await records.sealValue(this.#ring, version, uid, number, version.value);
    const record: SecretRecord = {
      uid,
      description: version.description || (found?.record.description ?? ""),
      createTime: found?.record.createTime ?? now,
      versions: [...earlier, { version: number, createTime: now }].slice(-KEPT_VERSIONS),
    };
    const values = [...(found?.sealed.values ?? []), value].slice(-KEPT_VERSIONS);
    const sealed = await records.sealRecord(this.#ring, version, record);
    return { record, bytes: records.encodeSecret({ record: sealed, values }) };
  }
}

/** Whether any tenant has a secret in `store`. */
export async function hasSecrets(store: SecretStore): Promise<boolean> {
  return (await store.keys(SECRET_KEYS)).length > 0;
}

function checkValue(value: string): void {
  if (!value.isWellFormed()) {
    throw new VaultError("invalid_value", "The value is not well-formed Unicode: encode binary values as base64");
  }
  const bytes = Buffer.byteLength(value, "utf8");
  if (bytes > MAX_VALUE_BYTES) {
    throw new VaultError(
      "invalid_value",
      `The value has ${bytes} bytes of UTF-8, more than the ${MAX_VALUE_BYTES} allowed`,
    );
  }
}

function checkExpected({ name, ifVersion }: NewVersion, newest: number): void {
  if (ifVersion === undefined || ifVersion === newest) return;
  if (ifVersion === 0) throw new VaultError("already_exists", `Secret "${name}" exists already, at version ${newest}`);
  if (newest === 0) throw missing(name);
  const message = `Secret "${name}" is at version ${newest}, not ${ifVersion}: read it and decide again`;
  throw new VaultError("conflict", message);
}

function missing(name: string): VaultError {
  return new VaultError("not_found", `There is no secret "${name}"`);
}

function infoOf(name: string, record: SecretRecord): SecretInfo {
  const newest = record.versions.at(-1);
  return {
    name,
    version: newest?.version ?? 0,
    description: record.description,
    createTime: new Date(record.createTime),
    updateTime: new Date(newest?.createTime ?? record.createTime),
  };
}

async function corruptIfUnreadable<T>(name: string, opened: Promise<T>): Promise<T> {
  try {
    return await opened;
  } catch (error) {
    if (!(error instanceof PayloadError)) throw error;
    const message = `Secret "${name}" does not open: ${error.message}. Restore it from a backup, or delete it and store it again`;
    throw new VaultError("corrupt", message, { cause: error });
  }
}
