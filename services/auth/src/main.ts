// The auth service.
import { AuthServiceDefinition } from "@warren/proto/warren/auth/v1/auth";
import { runService } from "@warren/service";
import { createAuth } from "./app.ts";
import { config, sealingKey } from "./config.ts";
import { openStores } from "./stores.ts";

await runService({
  name: "auth",
  description: "Pairing, tokens and devices",
  config,
  start: async ({ config: settings, mesh, log, health, metrics: { registry } }) => {
    const stores = await openStores(mesh);
    const handlers = await createAuth({
      mesh,
      stores,
      sealingKey: sealingKey(settings),
      log,
      registry,
      operatorTokenFile: settings.operatorTokenFile,
      showCodeInLog: settings.pairingShowCodeInLog,
    });
    health.check("state", async () => void (await stores.signing.get("current")));
    await mesh.serve(AuthServiceDefinition, handlers);
    return {};
  },
});
