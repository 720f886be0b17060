// Notices that the bucket of secrets was set back to an earlier state, by the newest revision that the key ring remembers.
import type { SecretStore } from "../store/store.ts";
import type { KeyRing } from "./key-ring.ts";

const MARKER = "generation";
/** The ring follows the bucket at every start and stop, and in between after so many writes. */
const STRIDE = 256;

/** What a watch needs. */
export interface RollbackWatchOptions {
  /** The bucket of secrets. */
  readonly store: SecretStore;
  readonly ring: Pick<KeyRing, "generation" | "setGeneration">;
  /** Told once, in words, when a roll-back is noticed. */
  readonly onRollback: (notice: string) => void;
  /** Told when the ring could not be written. Nothing is lost by it: the next write tries again. */
  readonly onError: (error: unknown) => void;
  /** The generation that a person has agreed to go back behind, after restoring a backup on purpose. */
  readonly accepted?: number | undefined;
}

/** Watches one bucket. Revisions of a bucket only grow, so one below what was seen before comes from an older state. */
export class RollbackWatch {
  readonly #options: RollbackWatchOptions;
  #newest = 0;
  #saving = false;
  #notice: string | undefined;

  constructor(options: RollbackWatchOptions) {
    this.#options = options;
  }

  /** What was noticed, in words, or undefined. */
  get notice(): string | undefined {
    return this.#notice;
  }

  /** Writes to the bucket to learn its revision, and compares. The ring was read before: an honest bucket is past what it says. */
  async start(): Promise<void> {
    const { ring, accepted } = this.#options;
    const expected = ring.generation;
    const revision = await this.#touch();
    if (revision <= expected && accepted !== expected) this.#tell(revision, expected);
    await ring.setGeneration(revision, accepted);
  }

  /** Call it before a write; call what it returns with the revision that the write got. */
  readonly observeWrite = (): ((revision: number) => void) => {
    const expected = this.#options.ring.generation;
    return (revision) => {
      if (revision <= expected) this.#tell(revision, expected);
      this.#newest = Math.max(this.#newest, revision);
      if (this.#newest < this.#options.ring.generation + STRIDE || this.#saving) return;
      this.#saving = true;
      void this.stop().finally(() => (this.#saving = false));
    };
  };

  /** Has the ring remember the newest revision seen. Never rejects. */
  async stop(): Promise<void> {
    try {
      if (this.#newest > this.#options.ring.generation) await this.#options.ring.setGeneration(this.#newest);
    } catch (error) {
      this.#options.onError(error);
    }
  }

  async #touch(): Promise<number> {
    const { store } = this.#options;
    for (;;) {
      const expected = (await store.read(MARKER))?.revision ?? 0;
      const revision = await store.write(MARKER, new Uint8Array([1]), expected);
      if (revision !== undefined) return revision;
    }
  }

  #tell(revision: number, expected: number): void {
    if (this.#notice !== undefined) return;
    this.#notice =
      `The bucket "secrets" is at revision ${revision} but was at ${expected} before: it was set back to an earlier state, so secrets may be old or deleted ones back. ` +
      `If you restored a backup on purpose, start the service once with WARREN_SECRETS_ACCEPT_GENERATION=${expected}; if not, restore a newer state`;
    this.#options.onRollback(this.#notice);
  }
}
