// NestJS microservices over NATS, as they come: a controller with a message pattern, and a client proxy.
import "reflect-metadata";
import { Controller, Module } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { ClientProxyFactory, MessagePattern, type MicroserviceOptions, Transport } from "@nestjs/microservices";
import { firstValueFrom } from "rxjs";
import { echo, type Subject, type Target } from "./subject.ts";

const PATTERN = "bench.nest.echo";

class EchoController {
  async echo({ message }: { message: string }): Promise<{ message: string }> {
    return { message: await echo(message) };
  }
}

class EchoModule {
  readonly name = "echo";
}

/** What decorators would do, called: Node.js does not read their syntax. */
function decorate(): void {
  const method = Object.getOwnPropertyDescriptor(EchoController.prototype, "echo");
  if (method) MessagePattern(PATTERN)(EchoController.prototype, "echo", method);
  Controller()(EchoController);
  Module({ controllers: [EchoController] })(EchoModule);
}

function options({ natsUrl, peer }: Target) {
  return { servers: [natsUrl], user: peer.user, pass: peer.password, queue: "bench" };
}

export const nestjs: Subject = {
  async serve(target) {
    decorate();
    const app = await NestFactory.createMicroservice<MicroserviceOptions>(EchoModule, {
      transport: Transport.NATS,
      options: options(target),
      logger: false,
    });
    await app.listen();
    return { close: () => app.close() };
  },
  async connect(target) {
    const client = ClientProxyFactory.create({ transport: Transport.NATS, options: options(target) });
    await client.connect();
    return {
      echo: async (message) =>
        (await firstValueFrom(client.send<{ message: string }, { message: string }>(PATTERN, { message }))).message,
      close: async () => void (await client.close()),
    };
  },
};
