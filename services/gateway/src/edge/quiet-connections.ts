// Connections that have not asked for anything yet: bounded, so that those who do ask find a place.
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";

/** Share of a server's connections that may be open without a request. */
const SHARE = 0.5;

/**
 * Ends the oldest connection without a request when more than half of `maxConnections` are. Who means to ask does so at once, and is
 * among the youngest. Without this, whoever opens that many keeps everybody out until the headers' time is over, again and again.
 */
export function boundQuietConnections(server: Server, maxConnections: number): void {
  const most = Math.max(1, Math.floor(maxConnections * SHARE));
  // In the order in which they came.
  const quiet = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    quiet.add(socket);
    socket.once("close", () => quiet.delete(socket));
    if (quiet.size <= most) return;
    const [oldest] = quiet;
    if (oldest === undefined) return;
    quiet.delete(oldest);
    oldest.destroy();
  });
  const asked = ({ socket }: IncomingMessage): void => void quiet.delete(socket);
  for (const event of ["request", "upgrade", "checkExpectation"]) server.prependListener(event, asked);
}
