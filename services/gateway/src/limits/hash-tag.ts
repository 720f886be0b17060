// Where a key lies in a Redis Cluster: the text in its first braces decides the slot.
import type { KeyedLimit } from "./policy.ts";
import type { Operation } from "./store.ts";

/** The hash tag of a limit's key. Keys with one tag lie in one slot. */
export function tagOf({ key }: KeyedLimit): string {
  return key.slice(key.indexOf("{") + 1, key.indexOf("}"));
}

/** The hash tag of all that an operation touches; of a decision, that of its first limit. */
export function hashTag(operation: Operation): string {
  const limit = operation.kind === "decide" ? operation.limits[0] : operation.limit;
  return limit === undefined ? "" : tagOf(limit);
}
