// The conversations that this process had to do with last, so that the next turn need not read the log again.
// Another replica may have gone on since: whoever appends to a remembered conversation learns it from the log's refusal.

/** Values by key, the longest unused given up first once they outgrow a budget. */
export interface Recent<T> {
  get(key: string): T | undefined;
  /** Remembers `value`, which weighs `size` by now. */
  keep(key: string, value: T, size: number): void;
  forget(key: string): void;
}

/** Remembers values of `budget` in all; one that outweighs it alone is not remembered. */
export function createRecent<T>(budget: number): Recent<T> {
  const known = new Map<string, { value: T; size: number }>();
  let total = 0;
  const forget = (key: string): void => {
    total -= known.get(key)?.size ?? 0;
    known.delete(key);
  };
  return {
    get: (key) => known.get(key)?.value,
    keep(key, value, size) {
      // Taken out and put back, it is the newest in the map's order.
      forget(key);
      known.set(key, { value, size });
      total += size;
      for (const oldest of known.keys()) {
        if (total <= budget) return;
        forget(oldest);
      }
    },
    forget,
  };
}
