// State in memory with the rules of the mesh's: compare-and-set, and one writer first.
import { RpcError, StatusCode } from "@warren/mesh";
import type { Session, SessionEntry } from "@warren/proto/warren/agent/v1/agent";
import type { IndexBucket } from "../../src/session/index.ts";
import type { EntryLog } from "../../src/session/log.ts";
import type { LeaseBucket, LeaseHolder } from "../../src/session/turn-lease.ts";

/** A log of conversations whose content a test can see. */
export function memoryLog(): EntryLog & { readonly entries: Map<string, SessionEntry[]> } {
  const entries = new Map<string, SessionEntry[]>();
  return {
    entries,
    async append(key, value, expected) {
      const log = entries.get(key) ?? [];
      if (log.length !== expected) throw new RpcError(StatusCode.ABORTED, "another writer came first");
      entries.set(key, log);
      return log.push(structuredClone(value));
    },
    async read(key) {
      const log = entries.get(key) ?? [];
      return { entries: log.map((value, index) => ({ value, sequence: index + 1 })), lastSequence: log.length };
    },
    keys: async (prefix) => [...entries.keys()].filter((key) => prefix === undefined || key.startsWith(`${prefix}.`)),
  };
}

/** Leases and index entries: a bucket of any values. */
export function memoryBucket<T>() {
  const values = new Map<string, { value: T; revision: number }>();
  let revision = 0;
  const set = (key: string, value: T): number => {
    values.set(key, { value, revision: ++revision });
    return revision;
  };
  return {
    values,
    async get(key: string) {
      const found = values.get(key);
      return found && { key, ...found, created: new Date() };
    },
    async create(key: string, value: T) {
      if (values.has(key)) throw new RpcError(StatusCode.ALREADY_EXISTS, "already there");
      return set(key, value);
    },
    async update(key: string, value: T, expected: number) {
      if (values.get(key)?.revision !== expected) throw new RpcError(StatusCode.ABORTED, "changed");
      return set(key, value);
    },
    put: async (key: string, value: T) => set(key, value),
    async delete(key: string, expected?: number) {
      if (expected !== undefined && values.get(key)?.revision !== expected)
        throw new RpcError(StatusCode.ABORTED, "changed");
      values.delete(key);
    },
    async entries(prefix?: string) {
      return [...values]
        .filter(([key]) => prefix === undefined || key.startsWith(`${prefix}.`))
        .map(([key, entry]) => ({ key, ...entry, created: new Date() }));
    },
  };
}

/** The three kinds of state that a turn needs. */
export function memoryState() {
  const index: IndexBucket & { readonly values: Map<string, { value: Session }> } = memoryBucket<Session>();
  const leases: LeaseBucket & { readonly values: Map<string, unknown> } = memoryBucket<LeaseHolder>();
  return { log: memoryLog(), index, leases };
}
