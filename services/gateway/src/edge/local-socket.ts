// The gateway's Unix socket: the same routes, for callers on this machine.
import { chmodSync, lstatSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import type { LocalTrust } from "../identity/local-trust.ts";

/** A socket that is open. */
export interface LocalSocket {
  close(): void;
}

/**
 * Listens at `path`, for this user alone.
 * @throws Error when something else is there, or another process listens there.
 */
export async function listenLocally(
  path: string,
  main: Server,
  trust: LocalTrust,
  bounds: object,
): Promise<LocalSocket> {
  await removeStale(path);
  const server = createServer(bounds, (request: IncomingMessage, response: ServerResponse) =>
    main.emit("request", request, response),
  );
  server.on("connection", (socket) => trust.addSocket(socket));
  const before = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, resolve);
    });
  } finally {
    process.umask(before);
  }
  chmodSync(path, 0o600);
  return {
    close: () => {
      server.close();
      server.closeIdleConnections();
    },
  };
}

/** A socket that a killed gateway left behind is removed; one that answers is another's. */
async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return;
  if (!found.isSocket()) throw new Error(`WARREN_HTTP_SOCKET: ${path} is there and is no socket`);
  const answers = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => resolve((probe.destroy(), true)));
    probe.once("error", () => resolve(false));
  });
  if (answers) throw new Error(`WARREN_HTTP_SOCKET: another process listens at ${path}`);
  rmSync(path);
}
