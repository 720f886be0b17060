// State of a mesh whose services still shared one NATS account: each stream belongs to the account of the service that owns
// it now, and nats-server would pass over an account that its configuration does not name, as if there had been nothing.
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { accountOf, state, streamName } from "@warren/mesh/policy";

/** The account that all services shared. */
const SHARED = "WARREN";

/**
 * Moves streams out of the shared account. Call it while no server runs on the folder; what was interrupted goes on the next time.
 * @param storeDir JetStream's `store_dir`
 * @throws Error when there is a stream that no service owns, or that its owner's account has already.
 */
export function leaveSharedAccount(storeDir: string): void {
  const accounts = join(storeDir, "jetstream");
  const streams = join(accounts, SHARED, "streams");
  if (!existsSync(streams)) return;
  const owners = new Map(
    Object.entries(state).map(([key, spec]) => [streamName(spec), accountOf(key as keyof typeof state)]),
  );
  for (const stream of readdirSync(streams)) {
    const owner = owners.get(stream);
    if (owner === undefined) throw refusal(streams, `no service owns ${stream}`);
    const target = join(accounts, owner, "streams");
    if (existsSync(join(target, stream))) throw refusal(streams, `${owner} has a ${stream} of its own already`);
    mkdirSync(target, { recursive: true, mode: 0o700 });
    renameSync(join(streams, stream), join(target, stream));
  }
  rmdirSync(streams);
}

function refusal(streams: string, why: string): Error {
  return new Error(
    `The state in ${streams} is of an earlier version and cannot be taken over: ${why}. Move the folder away to go on without it`,
  );
}
