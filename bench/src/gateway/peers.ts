// What a user might put in place of Warren's gateway.
import proxy from "@fastify/http-proxy";
import rateLimit from "@fastify/rate-limit";
import { connect } from "@nats-io/transport-node";
import { fastify, type FastifyInstance } from "fastify";
import { Redis } from "ioredis";
import { PATH, type Subject, type Target } from "./subject.ts";

const SUBJECT = "peer.chat";

function echo(app: FastifyInstance): void {
  app.post(PATH, (request, reply) => reply.send({ message: (request.body as { message: string }).message }));
}

function listen(app: FastifyInstance): Promise<string> {
  return app.listen({ host: "127.0.0.1", port: 0 });
}

/** Fastify that answers by itself. */
export const plain: Subject = {
  front: () => {
    const app = fastify();
    echo(app);
    return listen(app);
  },
};

/** @fastify/http-proxy before a second Fastify: no token, no limits, no tracing. */
export const httpProxy: Subject = {
  back: plain.front,
  front: async ({ backUrl = "" }) => {
    const app = fastify();
    await app.register(proxy, { upstream: backUrl });
    return listen(app);
  },
};

/** Fastify that answers by itself, limited by @fastify/rate-limit on Redis. */
export const rateLimited: Subject = {
  front: async ({ redisPath }) => {
    const app = fastify();
    await app.register(rateLimit, { max: 1_000_000_000, timeWindow: 60_000, redis: new Redis({ path: redisPath }) });
    echo(app);
    return listen(app);
  },
};

/** Fastify that asks a responder over NATS, as JSON, with nothing around it. */
export const natsRequest: Subject = {
  back: async (target) => {
    const connection = await join(target);
    connection.subscribe(SUBJECT, {
      callback: (_error, message) => {
        const { message: text } = message.json<{ message: string }>();
        message.respond(JSON.stringify({ message: text }));
      },
    });
    await connection.flush();
    return undefined;
  },
  front: async (target) => {
    const connection = await join(target);
    const app = fastify();
    app.post(PATH, async (request, reply) => {
      const answer = await connection.request(SUBJECT, JSON.stringify(request.body), { timeout: 30_000 });
      return reply.send(answer.json());
    });
    return listen(app);
  },
};

function join({ natsUrl, peer }: Target) {
  return connect({ servers: natsUrl, user: peer.user, pass: peer.password });
}
