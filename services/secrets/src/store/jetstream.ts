// The back end of the mesh: a bucket of JetStream's, shared by every replica.
import { type Kv, lostRace } from "@warren/mesh";
import type { SecretStore } from "./store.ts";

/** A store on a bucket of the mesh. Rejects with the mesh's RpcError, UNAVAILABLE while NATS is away. */
export function jetstreamStore(bucket: Kv<Uint8Array>): SecretStore {
  return {
    async read(key) {
      const entry = await bucket.get(key);
      return entry && { value: entry.value, revision: entry.revision };
    },
    async write(key, value, expected) {
      const writing = expected === 0 ? bucket.create(key, value) : bucket.update(key, value, expected);
      return unlessLost(writing);
    },
    async remove(key, expected) {
      const removed = await unlessLost(bucket.delete(key, expected).then(() => true));
      return removed ?? false;
    },
    keys: (prefix) => bucket.keys(prefix),
  };
}

async function unlessLost<T>(writing: Promise<T>): Promise<T | undefined> {
  try {
    return await writing;
  } catch (error) {
    if (lostRace(error)) return undefined;
    throw error;
  }
}
