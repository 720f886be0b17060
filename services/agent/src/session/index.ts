// The list of an owner's conversations: one small entry each, written when a turn ends and rebuilt from the log where missing.
import { type Kv, lostRace, RpcError, StatusCode } from "@warren/mesh";
import type { ListSessionsRequest, ListSessionsResponse, Session } from "@warren/proto/warren/agent/v1/agent";
import type { EntryLog, OpenSession, SessionLog } from "./log.ts";
import { type Owner, ownerPrefix, sessionIdOf, sessionKey } from "./owner.ts";
import { summary } from "./transcript.ts";

const DEFAULT_PAGE = 50;

/** Where the entries are kept. */
export type IndexBucket = Pick<Kv<Session>, "put" | "create" | "entries">;

/** The conversations of each owner. */
export interface SessionIndex {
  /** Brings a conversation's entry up to date. */
  update(session: OpenSession): Promise<void>;
  /**
   * One page, newest first. Its token names the last conversation shown, so what is added meanwhile shifts nothing.
   * @throws RpcError INVALID_ARGUMENT for a token that is none of ours.
   */
  list(owner: Owner, request: Pick<ListSessionsRequest, "pageSize" | "pageToken">): Promise<ListSessionsResponse>;
}

/** Keeps the index in `bucket`; `log` and `sessions` are what it is rebuilt from. */
export function createSessionIndex(
  bucket: IndexBucket,
  log: Pick<EntryLog, "keys">,
  sessions: SessionLog,
): SessionIndex {
  async function rebuild(owner: Owner, key: string): Promise<Session[]> {
    const session = summary(await sessions.open(owner, sessionIdOf(key)));
    // A turn that ended meanwhile has written a newer one.
    await bucket.create(key, session).catch((error: unknown) => {
      if (!lostRace(error)) throw error;
    });
    return [session];
  }
  return {
    async update(session) {
      await bucket.put(sessionKey(session.owner, session.id), summary(session));
    },
    async list(owner, { pageSize, pageToken }) {
      const after = pageToken === "" ? undefined : readToken(pageToken);
      const [entries, keys] = await Promise.all([bucket.entries(ownerPrefix(owner)), log.keys(ownerPrefix(owner))]);
      const indexed = new Set(entries.map((entry) => entry.key));
      const missing = await Promise.all(keys.filter((key) => !indexed.has(key)).map((key) => rebuild(owner, key)));
      const all = [...entries.map((entry) => entry.value), ...missing.flat()].sort(newestFirst);
      const rest = after ? all.filter((session) => newestFirst(after, session) < 0) : all;
      const sessions = rest.slice(0, pageSize === 0 ? DEFAULT_PAGE : pageSize);
      const last = sessions.at(-1);
      return { sessions, nextPageToken: last && sessions.length < rest.length ? writeToken(last) : "" };
    },
  };
}

type Position = Pick<Session, "id" | "updateTime">;

function newestFirst(a: Position, b: Position): number {
  const byTime = (b.updateTime?.getTime() ?? 0) - (a.updateTime?.getTime() ?? 0);
  return byTime !== 0 ? byTime : a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

function writeToken({ id, updateTime }: Position): string {
  return Buffer.from(JSON.stringify([updateTime?.getTime() ?? 0, id])).toString("base64url");
}

function readToken(token: string): Position {
  try {
    const [time, id] = JSON.parse(Buffer.from(token, "base64url").toString()) as unknown[];
    if (typeof time === "number" && Number.isFinite(time) && typeof id === "string")
      return { id, updateTime: new Date(time) };
  } catch {
    // Falls through to the same answer as a token of another shape.
  }
  throw new RpcError(StatusCode.INVALID_ARGUMENT, "The page token is not one of this list: begin again without it", {
    violations: [{ field: "pageToken", description: "must be a nextPageToken of an earlier answer" }],
  });
}
