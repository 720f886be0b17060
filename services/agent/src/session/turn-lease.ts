// One turn at a time in a conversation, over all replicas: a lease that its holder refreshes by compare-and-set.
// The log's expected sequences are what keeps turns apart; the lease only saves the second one its work.
import { setTimeout as delay } from "node:timers/promises";
import { type Kv, lostRace, RpcError, StatusCode } from "@warren/mesh";

/** Who holds a lease. */
export interface LeaseHolder {
  readonly instance: string;
  readonly turnId: string;
}

/** A lease that is held. */
export interface Lease {
  /** Fires when another took the lease over: the turn must end. */
  readonly signal: AbortSignal;
  /** Gives it back; a second time does nothing. */
  release(): Promise<void>;
  /** Leaves it to another replica, which takes it at once for the same turn; nobody else does before it is stale. */
  leave(): Promise<void>;
}

/** Gives out leases. */
export interface TurnLeases {
  /**
   * Takes the lease of a conversation. One whose holder stopped refreshing it (a crash) is taken over after `staleMs`;
   * that of the same turn, which its holder has left, at once.
   * @throws RpcError ABORTED while another turn is in progress; the signal's reason when it aborts.
   */
  acquire(key: string, turnId: string, signal: AbortSignal): Promise<Lease>;
}

/** Where leases are kept: a bucket whose entries expire by themselves. */
export type LeaseBucket = Pick<Kv<LeaseHolder>, "get" | "create" | "update" | "delete">;

export interface LeaseTimes {
  /** Between two refreshes, in milliseconds. */
  readonly refreshMs: number;
  /** A lease that nobody refreshed for this long belongs to a crashed holder. Several refreshes, in milliseconds. */
  readonly staleMs: number;
}

const TIMES: LeaseTimes = { refreshMs: 1_000, staleMs: 3_000 };
const WATCH_MS = 200;

/** Gives out leases kept in `bucket`, for the turns of this process (`instance`). */
export function createTurnLeases(bucket: LeaseBucket, instance: string, times: LeaseTimes = TIMES): TurnLeases {
  const held = new Set<string>();
  return {
    async acquire(key, turnId, signal) {
      // Our own turns need no watching to be known alive.
      if (held.has(key)) throw inProgress();
      held.add(key);
      try {
        const holder = { instance, turnId };
        const revision = await take(bucket, key, holder, times, signal);
        return hold({ bucket, key, holder, times, onReleased: () => held.delete(key) }, revision);
      } catch (error) {
        held.delete(key);
        throw error;
      }
    },
  };
}

async function take(
  bucket: LeaseBucket,
  key: string,
  holder: LeaseHolder,
  times: LeaseTimes,
  signal: AbortSignal,
): Promise<number> {
  const created = await unlessLost(bucket.create(key, holder));
  if (created !== undefined) return created;
  const first = await bucket.get(key);
  if (!first) return orInProgress(unlessLost(bucket.create(key, holder)));
  // This very instance, before it crashed and was started again: it knows that it holds nothing.
  if (first.value.instance === holder.instance) {
    return orInProgress(unlessLost(bucket.update(key, holder, first.revision)));
  }
  // A turn is one replica's, then another's: its former holder stores nothing more.
  if (first.value.turnId === holder.turnId) {
    const revision = await unlessLost(bucket.update(key, holder, first.revision));
    if (revision !== undefined) return revision;
    // Its last refresh was on its way.
    signal.throwIfAborted();
    return take(bucket, key, holder, times, signal);
  }
  // Clocks differ between machines, so a stale lease is known by watching it, not by its time.
  const patience = performance.now() + times.staleMs;
  while (performance.now() < patience) {
    await delay(Math.min(WATCH_MS, times.staleMs), undefined, { signal }).catch(() => signal.throwIfAborted());
    const now = await bucket.get(key);
    if (!now) return orInProgress(unlessLost(bucket.create(key, holder)));
    if (now.revision !== first.revision) throw inProgress();
  }
  return orInProgress(unlessLost(bucket.update(key, holder, first.revision)));
}

interface Held {
  readonly bucket: LeaseBucket;
  readonly key: string;
  readonly holder: LeaseHolder;
  readonly times: LeaseTimes;
  readonly onReleased: () => void;
}

function hold({ bucket, key, holder, times, onReleased }: Held, taken: number): Lease {
  const lost = new AbortController();
  let revision = taken;
  let refreshing: Promise<void> = Promise.resolve();
  let released = false;
  const timer = setInterval(() => {
    refreshing = refreshing.then(refresh);
  }, times.refreshMs);
  timer.unref();

  async function refresh(): Promise<void> {
    try {
      const next = (await unlessLost(bucket.update(key, holder, revision))) ?? (await regain(bucket, key, holder));
      if (next !== undefined) {
        revision = next;
        return;
      }
    } catch {
      // NATS is away: nobody else can take the lease now either.
      return;
    }
    clearInterval(timer);
    lost.abort(
      new RpcError(StatusCode.ABORTED, "Another turn took over this session: try again", { reason: "TURN_TAKEN_OVER" }),
    );
  }

  /** False when it was before. */
  async function end(): Promise<boolean> {
    if (released) return false;
    released = true;
    clearInterval(timer);
    await refreshing;
    onReleased();
    return true;
  }

  return {
    signal: lost.signal,
    leave: async () => void (await end()),
    async release() {
      if (!(await end())) return;
      // What cannot be deleted now expires.
      if (!lost.signal.aborted) await bucket.delete(key, revision).catch(() => undefined);
    },
  };
}

/** The lease's revision where an update failed for another reason than a take-over: it expired, or the answer was lost. */
async function regain(bucket: LeaseBucket, key: string, holder: LeaseHolder): Promise<number | undefined> {
  const now = await bucket.get(key);
  if (!now) return unlessLost(bucket.create(key, holder));
  return now.value.instance === holder.instance && now.value.turnId === holder.turnId ? now.revision : undefined;
}

async function unlessLost(write: Promise<number>): Promise<number | undefined> {
  try {
    return await write;
  } catch (error) {
    if (lostRace(error)) return undefined;
    throw error;
  }
}

async function orInProgress(write: Promise<number | undefined>): Promise<number> {
  const revision = await write;
  if (revision === undefined) throw inProgress();
  return revision;
}

function inProgress(): RpcError {
  return new RpcError(StatusCode.ABORTED, "A turn is in progress in this session: wait for its end, then try again", {
    reason: "TURN_IN_PROGRESS",
    retryAfterMs: 1_000,
  });
}
