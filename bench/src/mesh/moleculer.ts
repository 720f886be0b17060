// Moleculer over its NATS transporter, as it comes: JSON, its own balancer, no metrics, no tracing, no time limit.
import { ServiceBroker } from "moleculer";
import { echo, type Subject, type Target } from "./subject.ts";

function broker(role: string, { natsUrl, peer }: Target): ServiceBroker {
  return new ServiceBroker({
    nodeID: `${role}-${process.pid}`,
    logger: false,
    transporter: {
      type: "NATS",
      options: { servers: [new URL(natsUrl).host], user: peer.user, pass: peer.password },
    },
  });
}

export const moleculer: Subject = {
  async serve(target) {
    const node = broker("server", target);
    node.createService({
      name: "bench",
      actions: {
        echo: async ({ params }: { params: { message: string } }) => ({ message: await echo(params.message) }),
      },
    });
    await node.start();
    return { close: () => node.stop() };
  },
  async connect(target) {
    const node = broker("client", target);
    await node.start();
    await node.waitForServices("bench", 20_000);
    return {
      echo: async (message) =>
        (await node.call<{ message: string }, { message: string }>("bench.echo", { message })).message,
      close: () => node.stop(),
    };
  },
};
