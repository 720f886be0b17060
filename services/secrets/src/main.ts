// The secrets service.
import { runService } from "@warren/service";
import { createSecrets } from "./app.ts";
import { config, rootKeySource } from "./config.ts";
import { rootKeyFrom } from "./vault/root-key.ts";

await runService({
  name: "secrets",
  description: "The vault",
  config,
  start: ({ config: settings, mesh, log, health }) =>
    createSecrets({
      mesh,
      log,
      health,
      rootKey: rootKeyFrom(rootKeySource(settings)),
      acceptGeneration: settings.acceptGeneration,
    }),
});
