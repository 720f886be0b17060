// What the kinds of state share: JetStream, its errors as ours, and waiting for what another service creates.
import { JetStreamApiError, type JetStreamClient, jetstream } from "@nats-io/jetstream";
import { errors } from "@nats-io/transport-node";
import { type Connection, tooLarge } from "../connection.ts";
import { RpcError, StatusCode } from "../status.ts";
import { traceState } from "../telemetry.ts";

/** JetStream's code for an append or update whose expected sequence was not the last. */
const WRONG_LAST_SEQUENCE = 10_071;
/** How long one operation may take, in milliseconds. */
const OPERATION_MS = 10_000;
/** How long a write is tried that nobody heard, and how often, in milliseconds. */
const UNHEARD_MS = 1000;
const UNHEARD_RETRY_MS = 50;
/** How long a reader waits for the owner to create a bucket, in milliseconds. */
const CREATION_PATIENCE_MS = 30_000;

/** What state needs of the mesh. */
export interface StateDependencies {
  readonly connection: Connection;
  readonly js: JetStreamClient;
  /** Copies of each value: 1 on one machine, 3 in production. */
  readonly replicas: number;
}

/**
 * The first version whose clusters keep compare-and-set. Before 2.9.21 any number of concurrent writers win
 * (nats-server issue 4320), before 2.10.19 those that create a key may (nats-server pull request 5794).
 */
const CLUSTER_SINCE = [2, 10, 19] as const;

/**
 * Refuses replicated state on a server that would let two writers win.
 * @throws RpcError FAILED_PRECONDITION
 */
export function assertSafeReplicas(version: string | undefined, replicas: number): void {
  if (replicas <= 1 || !isOlder(version ?? "", CLUSTER_SINCE)) return;
  throw new RpcError(
    StatusCode.FAILED_PRECONDITION,
    `nats-server ${version ?? "of unknown version"} does not keep replicated state consistent: ` +
      `use ${CLUSTER_SINCE.join(".")} or newer, or one replica`,
    { reason: "NATS_TOO_OLD" },
  );
}

/** Whether a version, `2.9.10`, is before another. */
export function isOlder(version: string, than: readonly number[]): boolean {
  const parts = version.split(/[.-]/).map(Number);
  const at = than.findIndex((part, index) => parts[index] !== part);
  return at >= 0 && !((parts[at] ?? 0) > (than[at] ?? 0));
}

/**
 * JetStream over a connection.
 * @param apiPrefix where it is asked, for state in another account. Absent: in this service's own.
 */
export function openJetStream(connection: Connection, apiPrefix?: string): JetStreamClient {
  // What JetStream offers as a whole only the users of its own account may ask.
  const foreign = apiPrefix === undefined ? {} : { apiPrefix, checkAPI: false };
  return jetstream(connection.nats, { timeout: 5000, ...foreign });
}

/** Whether JetStream refused a write because another came first. */
export function isConflict(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === WRONG_LAST_SEQUENCE;
}

/**
 * Runs an operation on state, within `timeoutMs`; what JetStream and the connection throw becomes an RpcError.
 * @param what names the operation in errors and in its span: a template, never a key.
 */
export function operate<T>(
  deps: StateDependencies,
  what: string,
  operation: () => Promise<T>,
  timeoutMs = OPERATION_MS,
): Promise<T> {
  return traceState(`nats ${lowerFirst(what)}`, () => attempt(deps, what, operation, timeoutMs));
}

async function attempt<T>(
  { connection }: StateDependencies,
  what: string,
  operation: () => Promise<T>,
  timeoutMs: number,
): Promise<T> {
  connection.assertUp();
  // nats.js lets a request wait out its whole timeout when the connection is lost meanwhile.
  const ended = Promise.withResolvers<never>();
  const stop = connection.onLost(() => ended.reject(unavailable(what)));
  const timer = setTimeout(() => ended.reject(unavailable(what, new Error(`no answer in ${timeoutMs} ms`))), timeoutMs);
  try {
    return await Promise.race([operation(), ended.promise]);
  } catch (cause) {
    if (cause instanceof RpcError) throw cause;
    if (isConflict(cause))
      throw new RpcError(StatusCode.ABORTED, `${what}: another writer came first`, { reason: "CONFLICT" }, { cause });
    throw tooLarge(`The value for ${lowerFirst(what)}`, cause) ?? unavailable(what, cause);
  } finally {
    stop();
    clearTimeout(timer);
  }
}

/**
 * Runs a write again while nobody hears it: after a stream was created, or another server leads it, the servers of a cluster
 * do not all know at once where it is. What nobody heard was not written.
 */
export async function untilHeard<T>(write: () => Promise<T>): Promise<T> {
  const patience = Date.now() + UNHEARD_MS;
  for (;;) {
    try {
      return await write();
    } catch (error) {
      if (!wasUnheard(error) || Date.now() > patience) throw error;
      await new Promise((resolve) => setTimeout(resolve, UNHEARD_RETRY_MS));
    }
  }
}

function wasUnheard(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof errors.RequestError && cause.isNoResponders();
}

function unavailable(what: string, cause?: unknown): RpcError {
  const why = cause instanceof Error ? `: ${cause.message}` : "";
  return new RpcError(
    StatusCode.UNAVAILABLE,
    `${what} did not succeed${why}`,
    { reason: "STATE_UNAVAILABLE" },
    { cause },
  );
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

/** Opens state that another service creates, waiting for it at first start. */
export async function awaitCreation<T>(name: string, open: () => Promise<T>): Promise<T> {
  const patience = Date.now() + CREATION_PATIENCE_MS;
  for (;;) {
    try {
      return await open();
    } catch (cause) {
      if (Date.now() > patience)
        throw new RpcError(
          StatusCode.UNAVAILABLE,
          `The state ${name} is not there: is the service running that owns it?`,
          {},
          { cause },
        );
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
