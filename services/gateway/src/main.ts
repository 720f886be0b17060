// The gateway's process.
import { services } from "@warren/mesh/policy";
import { runService } from "@warren/service";
import { buildGateway } from "./app.ts";
import { gatewayConfig, redisPassword } from "./config.ts";
import { connectRedis } from "./limits/redis-client.ts";
import { openState } from "./state.ts";

await runService({
  name: "gateway",
  description: "The edge: routes from the contract, tokens, limits",
  config: gatewayConfig,
  start: async ({ config, mesh, log, health, metrics: { registry } }) => {
    const gateway = await buildGateway({
      config,
      mesh,
      state: await openState(mesh),
      health,
      log,
      redis: config.redisUrl === undefined ? undefined : connectRedis(config.redisUrl, redisPassword(config)),
      version: "0.1.0",
      services: Object.keys(services),
      registry,
    });
    const address = await gateway.listen();
    const grpcAddress = await gateway.listenGrpc();
    log.info({ address, grpcAddress }, "Listening");
    return {
      address,
      grpcAddress,
      drain: () => gateway.drain(config.drainGraceMs),
      stop: () => Promise.resolve(gateway.close()),
    };
  },
});
