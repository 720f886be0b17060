// The auth service.
import { AccessServiceDefinition } from "@warren/proto/warren/auth/v1/access";
import { AuthServiceDefinition } from "@warren/proto/warren/auth/v1/auth";
import { runService } from "@warren/service";
import { createAuth } from "./app.ts";
import { config, sealingKey } from "./config.ts";
import { watchForRecovery } from "./recovery/local.ts";
import { openStores } from "./stores.ts";

await runService({
  name: "auth",
  description: "Pairing, tokens and devices",
  config,
  start: async ({ config: settings, mesh, log, health, metrics: { registry } }) => {
    const stores = await openStores(mesh);
    const service = await createAuth({
      mesh,
      stores,
      sealingKey: sealingKey(settings),
      log,
      registry,
      operatorTokenFile: settings.operatorTokenFile,
      showCodeInLog: settings.pairingShowCodeInLog,
      factorPolicy: settings.pairingTotp,
      requireProof: settings.pairingRequireProof,
    });
    health.check("state", async () => void (await stores.signing.get("current")));
    await mesh.serve(AuthServiceDefinition, service.auth);
    await mesh.serve(AccessServiceDefinition, service.access);
    const unwatch = watchForRecovery(() => service.recover());
    return {
      stop: async () => {
        unwatch();
        await service.close();
      },
    };
  },
});
