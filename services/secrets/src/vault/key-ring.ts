// The data keys, shared by all replicas through one record in the store and sealed there by the root key.
import { randomBytes } from "node:crypto";
import type { SecretStore } from "../store/store.ts";
import { type Binding, KEY_BYTES, KEY_ID_BYTES, open, seal, sealedBy, type SealingKey } from "./envelope.ts";
import { KeyRingError, PayloadError } from "./errors.ts";
import { type DataKey, decodeRing, encodeRing, type RingState, unlockRing } from "./ring-record.ts";
import { identified, RECOVERY, type RootKey, type RootKeyHeader } from "./root-key.ts";

const RING = "ring";

/** How often one key may seal with random 96-bit IVs (NIST SP 800-38D, section 8.3). */
export const MAX_USES = 2 ** 32;

/** What a key ring is made of. */
export interface KeyRingOptions {
  /** The bucket of the ring. */
  readonly store: SecretStore;
  readonly rootKey: RootKey;
  /** Whether secrets are stored already: then a missing ring is a loss, not a beginning. */
  readonly hasSecrets: () => Promise<boolean>;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** How many uses of a key a replica reserves at a time: a crash wastes at most as many. */
  readonly block?: number;
  /** A key is replaced before it has been used so often. */
  readonly maxUses?: number;
}

/**
 * Opens the stored ring, or makes the first one; replicas that start at once agree on one. Throws KeyRingError when the root key is
 * missing or does not open the ring, and when secrets are stored but the ring is gone: a new ring is never made over an old one.
 */
export async function openKeyRing(options: KeyRingOptions): Promise<KeyRing> {
  const { store, rootKey } = options;
  const unlock = async (entry: { value: Uint8Array; revision: number }): Promise<KeyRing> => {
    const { state, header, root } = await unlockRing(entry.value, rootKey);
    return new KeyRing(options, { state, header, root, revision: entry.revision });
  };
  const stored = await store.read(RING);
  if (stored) return unlock(stored);
  if (await options.hasSecrets()) {
    // Another replica may have made the ring and stored a secret in the meantime: only a second look tells.
    const late = await store.read(RING);
    if (late) return unlock(late);
    const message = `Secrets are stored, but the key ring that opens them is gone. Restore the bucket "secrets_keyring" from a backup. ${RECOVERY}`;
    throw new KeyRingError("ring_lost", message);
  }
  const { header, key } = await rootKey.establish();
  const root = { id: identified(key).id, key };
  const state: RingState = { generation: 0, keys: [newKey(options.now ?? Date.now)] };
  const revision = await store.write(RING, encodeRing(state, header, root), 0);
  if (revision !== undefined) return new KeyRing(options, { state, header, root, revision });
  key.fill(0);
  for (const each of state.keys) each.key.fill(0);
  const winner = await store.read(RING);
  if (winner) return unlock(winner);
  throw new KeyRingError("ring_lost", "The key ring was removed while the vault started: start it again");
}

/** The open ring of one replica. Made by `openKeyRing`. */
export class KeyRing {
  readonly #store: SecretStore;
  readonly #source: string;
  readonly #header: RootKeyHeader;
  readonly #root: SealingKey & { key: Buffer };
  readonly #now: () => number;
  readonly #block: number;
  readonly #maxUses: number;
  #state: RingState;
  #revision: number;
  /** The key that this replica seals with, and how many of its reserved uses are left. */
  #reserved: { key: DataKey; left: number } | undefined;
  #reserving: Promise<void> | undefined;
  #reloading: Promise<void> | undefined;
  #closed = false;

  /** @internal */
  constructor(
    options: KeyRingOptions,
    opened: { state: RingState; header: RootKeyHeader; root: SealingKey & { key: Buffer }; revision: number },
  ) {
    this.#store = options.store;
    this.#source = options.rootKey.source;
    this.#now = options.now ?? Date.now;
    this.#block = options.block ?? 2 ** 16;
    this.#maxUses = options.maxUses ?? MAX_USES;
    this.#header = opened.header;
    this.#root = opened.root;
    this.#state = opened.state;
    this.#revision = opened.revision;
  }

  /** The newest revision of the back end that the stored ring knows of. */
  get generation(): number {
    return this.#state.generation;
  }

  /** The ids of the keys, oldest first; the last one seals. */
  get keyIds(): readonly string[] {
    return this.#state.keys.map((key) => key.id);
  }

  /** Seals with the newest key. Rejects with the store's error when uses must be reserved and the store is away. */
  async seal(plaintext: Uint8Array, binding: Binding): Promise<Buffer> {
    while (!this.#reserved || this.#reserved.left === 0) {
      this.#reserving ??= this.#reserve().finally(() => (this.#reserving = undefined));
      await this.#reserving;
    }
    this.#assertOpen();
    this.#reserved.left -= 1;
    return seal(this.#reserved.key, plaintext, binding);
  }

  /** Opens with the key that the payload names, looking once for a key that another replica has added. Throws PayloadError. */
  async open(payload: Uint8Array, binding: Binding): Promise<Buffer> {
    const id = sealedBy(payload);
    if (!this.#find(id)) {
      this.#reloading ??= this.#reload().finally(() => (this.#reloading = undefined));
      await this.#reloading;
    }
    this.#assertOpen();
    const key = this.#find(id);
    if (!key) throw new PayloadError("unknown_key", `The payload names key ${id}, which the key ring does not have`);
    return open(key, payload, binding);
  }

  /** Adds a key that seals from now on; the others keep opening what they sealed. Other replicas follow when their reserved uses are up. */
  async rotate(): Promise<void> {
    await this.#update((state) => ({ ...state, keys: [...state.keys, newKey(this.#now)] }));
    this.#reserved = undefined;
  }

  /** Stores that the back end was seen at `revision`. Lowers what is stored only where `accepted` is exactly that. */
  async setGeneration(revision: number, accepted?: number): Promise<void> {
    await this.#update((state) =>
      state.generation < revision || state.generation === accepted ? { ...state, generation: revision } : state,
    );
  }

  /** Looks at the stored ring. Rejects with KeyRingError when it is gone or was replaced, with the store's error when that is away. */
  async check(): Promise<void> {
    this.#assertOpen();
    await this.#reload();
  }

  /** Zeroes every key. Nothing can be sealed or opened afterwards. */
  close(): void {
    this.#closed = true;
    this.#root.key.fill(0);
    for (const { key } of this.#state.keys) key.fill(0);
  }

  async #reserve(): Promise<void> {
    let id = "";
    await this.#update((state) => {
      const last = state.keys.at(-1);
      const fits = last && last.uses + this.#block <= this.#maxUses;
      const sealing = fits ? last : newKey(this.#now);
      const others = fits ? state.keys.slice(0, -1) : state.keys;
      id = sealing.id;
      return { ...state, keys: [...others, { ...sealing, uses: sealing.uses + this.#block }] };
    });
    const key = this.#find(id);
    if (key) this.#reserved = { key, left: this.#block };
  }

  /** Changes the stored ring by compare-and-set: `change` is applied again to what another replica has written first. */
  async #update(change: (state: RingState) => RingState): Promise<void> {
    for (;;) {
      this.#assertOpen();
      const next = change(this.#state);
      if (next === this.#state) return;
      const revision = await this.#store.write(RING, encodeRing(next, this.#header, this.#root), this.#revision);
      if (revision !== undefined) {
        this.#adopt(next, revision);
        return;
      }
      await this.#reload();
    }
  }

  async #reload(): Promise<void> {
    const seen = this.#revision;
    const entry = await this.#store.read(RING);
    this.#assertOpen();
    if (!entry || entry.revision < seen) {
      const what = entry ? "was rolled back while in use" : "is gone";
      throw new KeyRingError("ring_lost", `The key ring ${what}. Restore the bucket "secrets_keyring" from a backup`);
    }
    // A write of this replica may have ended since: what was read is then the older.
    if (entry.revision <= this.#revision) return;
    this.#adopt(decodeRing(entry.value, this.#root, this.#source), entry.revision);
  }

  /** Keys in use keep their buffers: a seal or open on its way must never meet a zeroed key. */
  #adopt(state: RingState, revision: number): void {
    const known = new Map(this.#state.keys.map((key) => [key.id, key.key]));
    const keys = state.keys.map((each) => {
      const key = known.get(each.id);
      known.delete(each.id);
      if (!key || key === each.key) return each;
      each.key.fill(0);
      return { ...each, key };
    });
    if (known.size > 0) {
      const message = `The stored key ring lacks key ${[...known.keys()].join(", ")}, which is in use: it was replaced or rolled back. Restore the bucket "secrets_keyring" from a backup`;
      throw new KeyRingError("ring_damaged", message);
    }
    this.#state = { ...state, keys };
    this.#revision = revision;
  }

  #find(id: string): DataKey | undefined {
    return this.#state.keys.find((key) => key.id === id);
  }

  #assertOpen(): void {
    if (this.#closed) throw new KeyRingError("ring_closed", "The vault is closed: its service is stopping");
  }
}

function newKey(now: () => number): DataKey {
  return { id: randomBytes(KEY_ID_BYTES).toString("hex"), key: randomBytes(KEY_BYTES), createTime: now(), uses: 0 };
}
