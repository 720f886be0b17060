// A WebSocket client that tests drive message by message.
import type { TestContext } from "node:test";
import { once } from "node:events";
import { type ClientOptions, WebSocket } from "ws";

export type Json = Record<string, unknown>;

export interface TestSocket {
  readonly socket: WebSocket;
  /** The next message; undefined when it is closed without one. */
  readonly next: () => Promise<Json | undefined>;
  readonly send: (value: unknown) => void;
  readonly closed: Promise<{ code: number; reason: string }>;
}

/** Opens one. @throws Error with the status of a refusal. */
export async function openSocket(
  t: Pick<TestContext, "after">,
  url: string,
  token?: string,
  options: ClientOptions = {},
): Promise<TestSocket> {
  const { headers, ...rest } = options;
  const bearer = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const socket = new WebSocket(url.replace("http", "ws"), { headers: { ...bearer, ...headers }, ...rest });
  t.after(() => socket.terminate());
  const received: Json[] = [];
  let wake: (() => void) | undefined;
  let over = false;
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once("close", (code, reason) => {
      over = true;
      wake?.();
      resolve({ code, reason: reason.toString() });
    }),
  );
  socket.on("message", (data: Buffer) => {
    received.push(JSON.parse(data.toString()) as Json);
    wake?.();
  });
  await once(socket, "open");
  socket.on("error", () => undefined);
  return {
    socket,
    closed,
    send: (value) => socket.send(typeof value === "string" ? value : JSON.stringify(value)),
    async next() {
      while (received.length === 0 && !over) await new Promise<void>((resolve) => (wake = resolve));
      return received.shift();
    },
  };
}
