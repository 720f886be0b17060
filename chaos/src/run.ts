// One fault under load: what clients see of it, how long until all is well again, and what is lost.
import { waitUntil } from "@warren/testing";
import type { Fault } from "./faults.ts";
import type { Ledger } from "./ledger.ts";
import type { System } from "./system.ts";
import { KIND_COUNT, type Seen, type Users } from "./users.ts";

/** What came of a fault. */
export interface Outcome {
  readonly fault: string;
  /** Why it was not made. */
  readonly skipped?: string;
  readonly requests: number;
  /** How many requests ended otherwise than well, by status; 0: the connection failed. */
  readonly errors: Readonly<Record<string, number>>;
  /** Requests whose failure did not say the truth: anything but "not now" and "not in time". */
  readonly dishonest: readonly string[];
  /** The longest that anybody waited, in milliseconds. */
  readonly longestMs: number;
  /** From the end of the fault, or the killing, to the beginning of the first request after which none failed, in milliseconds; undefined: it never came. */
  readonly recoveryMs: number | undefined;
  /** What was acknowledged and is not there. */
  readonly lost: readonly string[];
}

/** Always honest: too many, not now, not in time. */
const HONEST = [429, 503, 504];
/** All is well when every kind of request has succeeded and none begun in this time has failed, in milliseconds. */
const CALM_MS = 1000;
const PATIENCE_MS = 60_000;

/** Makes a fault while users go on. */
export async function inject(fault: Fault, system: System, users: Users, ledger: Ledger): Promise<Outcome> {
  const skipped = fault.unavailable?.(system);
  if (skipped !== undefined) return { ...outcome(fault, [], 0, true), skipped, lost: [] };
  await calm(users, performance.now());
  users.forget();
  const begunAt = performance.now();
  await fault.begin(system);
  await new Promise((resolve) => setTimeout(resolve, fault.holdMs));
  await fault.end(system);
  // A process that was killed is away from that moment on; whoever starts it again belongs to the recovery.
  const endedAt = fault.holdMs === 0 ? begunAt : performance.now();
  const recovered = await calm(users, endedAt).then(
    () => true,
    () => false,
  );
  const seen = [...users.seen];
  const lost = await ledger.settle();
  return { ...outcome(fault, seen, endedAt, recovered), lost };
}

/** Waits until every kind of request that began after `since` has succeeded, and none has failed for a while. */
async function calm(users: Users, since: number): Promise<void> {
  await waitUntil("calm", PATIENCE_MS, () => {
    const after = users.seen.filter(({ begunAt }) => begunAt >= since);
    const well = new Set(after.filter(({ status }) => status === 200).map(({ kind }) => kind));
    const lastFailure = Math.max(since, ...after.filter(({ status }) => status !== 200).map(({ begunAt }) => begunAt));
    return well.size === KIND_COUNT && performance.now() - lastFailure > CALM_MS ? true : undefined;
  });
}

function outcome(
  fault: Fault,
  seen: readonly Seen[],
  endedAt: number,
  recovered: boolean,
): Omit<Outcome, "lost" | "skipped"> {
  const failed = seen.filter(({ status }) => status !== 200);
  const honest = new Set([...HONEST, ...(fault.honest ?? []), ...(fault.cutsClients ? [0] : [])]);
  const errors: Record<string, number> = {};
  for (const { status } of failed) errors[status] = (errors[status] ?? 0) + 1;
  const lastFailed = Math.max(0, ...failed.map(({ begunAt }) => begunAt));
  const next = seen
    .filter(({ begunAt, status }) => status === 200 && begunAt > lastFailed)
    .map(({ begunAt }) => begunAt);
  const dishonest = failed.filter(({ status }) => !honest.has(status));
  return {
    fault: fault.name,
    requests: seen.length,
    errors,
    dishonest: [...new Set(dishonest.map(({ kind, status, text }) => `${kind}: ${status} ${text.slice(0, 160)}`))],
    longestMs: Math.max(0, ...seen.map(({ ms }) => ms)),
    recoveryMs: recovered ? Math.max(0, Math.min(...next) - endedAt) : undefined,
  };
}
