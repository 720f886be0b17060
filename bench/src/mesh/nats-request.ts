// nats.js alone: request() and respond() on bytes. No types, no identity, no trace: the floor that a framework on
// nats.js starts from.
import { connect, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { echo, type Subject, type Target } from "./subject.ts";

const SUBJECT = "bench.nats.echo";
const TIMEOUT_MS = 30_000;

function open({ natsUrl, peer }: Target): Promise<NatsConnection> {
  return connect({ servers: [natsUrl], user: peer.user, pass: peer.password });
}

async function respond(message: Msg): Promise<void> {
  message.respond(await echo(message.string()));
}

export const natsRequest: Subject = {
  async serve(target) {
    const nats = await open(target);
    nats.subscribe(SUBJECT, {
      queue: "bench",
      callback: (error, message) => {
        if (error) throw error;
        void respond(message);
      },
    });
    await nats.flush();
    return { close: () => nats.close() };
  },
  async connect(target) {
    const nats = await open(target);
    return {
      echo: async (text) => (await nats.request(SUBJECT, text, { timeout: TIMEOUT_MS })).string(),
      close: () => nats.close(),
    };
  },
};
