// A service for the test of runService, run as a process of its own: serves the secrets contract and tells its parent
// what happens in which order.
import { RpcError, StatusCode } from "@warren/mesh";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { runService } from "@warren/service";
import { z } from "zod";

const config = z.object({
  behaviour: z
    .enum(["good", "start-fails", "stop-fails", "odd-rejection", "starts-late"])
    .default("good")
    .describe("What to do.")
    .meta({ env: "TINY_BEHAVIOUR" }),
  port: z.coerce.number().int().default(1).describe("A number.").meta({ env: "TINY_PORT" }),
});

function tell(what: string): void {
  if (process.connected) process.send?.({ type: "step", what });
}

await runService({
  name: "secrets",
  description: "A service for a test.",
  config,
  start: async ({ config, mesh, log, health }) => {
    if (config.behaviour === "start-fails") throw new Error("the vault is sealed");
    if (config.behaviour === "odd-rejection") void Promise.reject(new Error("nobody waits for this"));
    if (config.behaviour === "starts-late") await new Promise((resolve) => process.once("message", resolve));
    health.check("tiny", () => Promise.resolve());
    const rest = () => Promise.reject(new RpcError(StatusCode.UNIMPLEMENTED, "not here"));
    await mesh.serve(SecretsServiceDefinition, {
      getSecret: async ({ name }) => {
        tell("call begins");
        await new Promise((resolve) => setTimeout(resolve, 600));
        tell("call ends");
        return { name };
      },
      putSecret: rest,
      listSecrets: rest,
      deleteSecret: rest,
      leaseSecret: rest,
      revokeLeases: rest,
    });
    log.info({ token: "hunter2" }, "Wired");
    return {
      address: "http://127.0.0.1:1",
      drain: async () => tell("drain"),
      stop: async () => {
        tell(`stop while the mesh is ${mesh.up ? "up" : "down"}`);
        if (config.behaviour === "stop-fails") throw new Error("stop failed");
      },
    };
  },
});
