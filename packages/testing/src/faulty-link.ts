// A TCP proxy whose link can be made slow, silent or broken.
import { connect, createServer, type Socket } from "node:net";

/** A link from its own port to another. */
export interface FaultyLink {
  /** Connect here, on 127.0.0.1. */
  readonly port: number;
  /** Where connections go from now on: a port of 127.0.0.1, or the path of a Unix socket. */
  aim(target: number | string): void;
  /** Connections stay and new ones are taken, but nothing comes through: a network that swallows packets. */
  pause(): void;
  /** Lets through what was held and all that follows. */
  resume(): void;
  /** Breaks every connection and refuses new ones. */
  cut(): void;
  /** Takes connections again after a cut. */
  mend(): void;
  /** Holds everything back by so many milliseconds, in both directions. */
  delay(ms: number): void;
  close(): Promise<void>;
}

/** Opens a link to a port of 127.0.0.1, or to a Unix socket. */
export async function openFaultyLink(target: number | string = 0): Promise<FaultyLink> {
  const sockets = new Set<Socket>();
  const state: { target: number | string; paused: boolean; broken: boolean; delayMs: number } = {
    target,
    paused: false,
    broken: false,
    delayMs: 0,
  };
  const held: (() => void)[] = [];

  const track = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.setNoDelay(true);
    // The other side of a broken link is told by `close`; its error is what the test asked for.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    return socket;
  };
  const deliver = (action: () => void): void => {
    if (state.paused) held.push(action);
    else action();
  };
  const forward = (from: Socket, to: Socket): void => {
    from.on("data", (chunk: Buffer) => {
      const write = (): void => deliver(() => void (to.writable && to.write(chunk)));
      if (state.delayMs > 0) setTimeout(write, state.delayMs);
      else write();
    });
    from.on("end", () => deliver(() => to.end()));
    from.on("close", () => deliver(() => to.destroy()));
  };
  const server = createServer((incoming) => {
    if (state.broken || state.target === 0) {
      incoming.on("error", () => incoming.destroy());
      incoming.destroy();
      return;
    }
    track(incoming);
    const to = state.target;
    const outgoing = track(typeof to === "string" ? connect(to) : connect(to, "127.0.0.1"));
    forward(incoming, outgoing);
    forward(outgoing, incoming);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as { port: number };
  const breakAll = (): void => {
    for (const socket of sockets) socket.destroy();
    held.length = 0;
  };
  return {
    port,
    aim: (next) => void (state.target = next),
    pause: () => void (state.paused = true),
    resume: () => {
      state.paused = false;
      for (const action of held.splice(0)) action();
    },
    cut: () => {
      state.broken = true;
      breakAll();
    },
    mend: () => void (state.broken = false),
    delay: (ms) => void (state.delayMs = ms),
    close: async () => {
      state.broken = true;
      breakAll();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
