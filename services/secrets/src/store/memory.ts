// A back end that forgets: for tests and for trying things out.
import type { SecretStore, StoredEntry } from "./store.ts";

/** A store in this process's memory. Pass the same one to two vaults to have two replicas on one back end. */
export function memoryStore(): SecretStore {
  const entries = new Map<string, StoredEntry>();
  let revision = 0;
  return {
    async read(key) {
      return entries.get(key);
    },
    async write(key, value, expected) {
      if ((entries.get(key)?.revision ?? 0) !== expected) return undefined;
      revision += 1;
      entries.set(key, { value: Uint8Array.from(value), revision });
      return revision;
    },
    async remove(key, expected) {
      if (entries.get(key)?.revision !== expected) return false;
      revision += 1;
      return entries.delete(key);
    },
    async keys(prefix) {
      return [...entries.keys()].filter((key) => prefix === "" || key.startsWith(`${prefix}.`));
    },
  };
}
