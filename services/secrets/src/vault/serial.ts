// Work on one key, one piece at a time and in order; other keys do not wait.

/** Runs `work` when everything given earlier for the same `key` has ended, well or badly. */
export type Serial = <T>(key: string, work: () => Promise<T>) => Promise<T>;

/** A new, empty line for each key. */
export function serial(): Serial {
  const tails = new Map<string, Promise<unknown>>();
  return async (key, work) => {
    const turn = (tails.get(key) ?? Promise.resolve()).then(work);
    const tail = turn.catch(() => undefined);
    tails.set(key, tail);
    try {
      return await turn;
    } finally {
      if (tails.get(key) === tail) tails.delete(key);
    }
  };
}
