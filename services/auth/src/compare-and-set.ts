// Read, decide, compare-and-set; again when another replica was faster.
import { setTimeout as pause } from "node:timers/promises";
import { type Kv, lostRace } from "@warren/mesh";

/** The part of a bucket that this service uses: no bare `put`, for every change here is a compare-and-set. */
export type Store<T> = Pick<Kv<T>, "get" | "create" | "update" | "entries">;

const TRIES = 32;
const LONGEST_PAUSE_MS = 20;

/**
 * Changes one record by compare-and-set. `next` gets what is there (undefined: nothing) and returns what shall be there;
 * the same object or undefined leaves it as it is. It may throw to refuse, and may run several times.
 * @returns what `next` returned last.
 * @throws RpcError ABORTED or ALREADY_EXISTS when others kept winning.
 */
export async function change<T, R extends T | undefined>(
  kv: Store<T>,
  key: string,
  next: (current: T | undefined) => R,
): Promise<R> {
  for (let attempt = 1; ; attempt++) {
    const entry = await kv.get(key);
    const value = next(entry?.value);
    if (value === undefined || value === entry?.value) return value;
    try {
      if (entry) await kv.update(key, value, entry.revision);
      else await kv.create(key, value);
      return value;
    } catch (error) {
      if (!lostRace(error) || attempt === TRIES) throw error;
      await pause(Math.random() * LONGEST_PAUSE_MS);
    }
  }
}

/** Creates a record unless there is one. @returns whether it was created. */
export async function createOnce<T>(kv: Store<T>, key: string, value: T): Promise<boolean> {
  try {
    await kv.create(key, value);
    return true;
  } catch (error) {
    if (lostRace(error)) return false;
    throw error;
  }
}
