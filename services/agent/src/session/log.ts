// Conversations as append-only logs. Each append names the entry it follows, so two turns cannot interleave, on any replica.
import { randomBytes } from "node:crypto";
import { type Log, RpcError, StatusCode } from "@warren/mesh";
import type { SessionEntry } from "@warren/proto/warren/agent/v1/agent";
import { type Owner, sessionKey } from "./owner.ts";
import { createRecent } from "./recent.ts";

/** What an entry of a conversation says, beyond when and whose it is. */
export type EntryContent = NonNullable<SessionEntry["entry"]>;

/** Where the logs are kept. */
export type EntryLog = Pick<Log<SessionEntry>, "append" | "read" | "keys">;

/** A conversation that is open for reading and appending. */
export interface OpenSession {
  readonly id: string;
  readonly owner: Owner;
  /** Oldest first, with what was appended through this object. */
  readonly entries: readonly SessionEntry[];
  /**
   * Stores one more entry.
   * @throws RpcError ABORTED when another writer appended since.
   */
  append(turnId: string, content: EntryContent): Promise<void>;
}

/** All conversations. */
export interface SessionLog {
  /** A new conversation with an id of ours. Nothing is stored before its first entry. */
  begin(owner: Owner): OpenSession;
  /**
   * A conversation of this owner.
   * @throws RpcError NOT_FOUND when there is none, or it is another's: the two look the same.
   */
  open(owner: Owner, id: string): Promise<OpenSession>;
  /** A conversation as this process knew it last, if it still does. Where another went on since, the first append is ABORTED. */
  recall(owner: Owner, id: string): OpenSession | undefined;
}

/** Characters of conversations that are remembered, in all. */
const REMEMBERED = 32 * 1024 * 1024;

/** Keeps conversations in `log`. */
export function createSessionLog(
  log: EntryLog,
  now: () => Date = () => new Date(),
  newId: () => string = () => `s_${randomBytes(12).toString("base64url")}`,
): SessionLog {
  const recent = createRecent<OpenSession>(REMEMBERED);
  function session(owner: Owner, id: string, entries: SessionEntry[], lastSequence: number): OpenSession {
    const key = sessionKey(owner, id);
    let last = lastSequence;
    let size = entries.reduce((sum, entry) => sum + sizeOf(entry), 0);
    const opened: OpenSession = {
      id,
      owner,
      entries,
      async append(turnId, content) {
        const entry: SessionEntry = { time: now(), turnId, principal: owner.principal, entry: content };
        try {
          last = await log.append(key, entry, last);
        } catch (error) {
          // Behind the log, or not known whether the entry is in it.
          recent.forget(key);
          throw error;
        }
        entries.push(entry);
        size += sizeOf(entry);
        recent.keep(key, opened, size);
      },
    };
    return opened;
  }
  return {
    begin: (owner) => session(owner, newId(), [], 0),
    async open(owner, id) {
      const { entries, lastSequence } = await log.read(sessionKey(owner, id));
      const values = entries.map((entry) => entry.value);
      if (values.length === 0 || values.some((entry) => entry.principal !== owner.principal)) {
        throw new RpcError(StatusCode.NOT_FOUND, `There is no session ${id}: leave the id out to begin a new one`, {
          reason: "SESSION_NOT_FOUND",
        });
      }
      return session(owner, id, values, lastSequence);
    },
    recall: (owner, id) => recent.get(sessionKey(owner, id)),
  };
}

function sizeOf(entry: SessionEntry): number {
  return JSON.stringify(entry).length;
}
