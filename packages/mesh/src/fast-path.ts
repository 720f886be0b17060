// Whether calls take the path that was made fast by what libraries have inside (wire.ts, message-writer.ts), or their public way.
import { randomBytes } from "node:crypto";
import type { Msg, NatsConnection } from "@nats-io/transport-node";
import type { Connection, MeshLog } from "./connection.ts";
import { MessageWriter } from "./message-writer.ts";
import { slowerPaths } from "./wire.ts";

/** Says in one line how messages go, and where that is the slower way, why. */
export async function reportPath(connection: Connection, log: MeshLog): Promise<void> {
  const { nats, inboxPrefix } = connection;
  const slower = [...slowerPaths(nats, await anyMessage(nats, inboxPrefix)), ...new MessageWriter().slowerPaths];
  if (slower.length === 0) return log.info({ path: "fast" }, "The mesh's messages take the fast path");
  log.warn(
    { path: "slow", slower },
    "The mesh's messages take a slower path: a library is of another version than the lock file's. Install with npm ci",
  );
}

/** A message that came by the connection: one that was sent to itself. Undefined when it did not come back. */
async function anyMessage(nats: NatsConnection, inboxPrefix: string): Promise<Msg | undefined> {
  let came: Msg | undefined;
  const subject = `${inboxPrefix}.${randomBytes(12).toString("base64url")}.path`;
  const subscription = nats.subscribe(subject, { callback: (error, message) => void (error ?? (came = message)) });
  try {
    nats.publish(subject);
    // NATS keeps the order: what it sent comes before the answer to this.
    await nats.flush();
  } catch {
    // The connection is gone again, and says so itself.
  }
  subscription.unsubscribe();
  return came;
}
