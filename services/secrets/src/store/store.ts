// Where the vault keeps its bytes. A back end sees ciphertext only and knows nothing of secrets.

/** One stored value. */
export interface StoredEntry {
  readonly value: Uint8Array;
  /** Grows with every write to the back end, of any key: a smaller one than seen before means that the back end was rolled back. */
  readonly revision: number;
}

/**
 * A key-value back end with compare-and-set, shared by all replicas. Reads see every write that has ended. Keys are
 * `.`-separated tokens. Failures of the back end itself reject with its own error; the outcome of a write that rejects is unknown.
 */
export interface SecretStore {
  /** The value at `key`, or undefined. */
  read(key: string): Promise<StoredEntry | undefined>;
  /**
   * Writes `key` if it is still at revision `expected` (0: if it does not exist). Returns the new revision, or undefined when another
   * writer was first.
   */
  write(key: string, value: Uint8Array, expected: number): Promise<number | undefined>;
  /** Removes `key` if it is still at revision `expected`. False when another writer was first. */
  remove(key: string, expected: number): Promise<boolean>;
  /** The keys whose first tokens are `prefix` (empty: every key), in no order. */
  keys(prefix: string): Promise<string[]>;
}
