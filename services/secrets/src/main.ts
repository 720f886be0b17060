// The secrets service.
import { runService } from "@warren/service";
import { createSecrets } from "./app.ts";
import { config, rootKeySource } from "./config.ts";
import { rootKeyFrom } from "./vault/root-key.ts";

try {
  await runService({
    name: "secrets",
    description: "The vault",
    config,
    start: ({ config: settings, mesh, log, health, metrics: { registry } }) =>
      createSecrets({
        mesh,
        log,
        health,
        registry,
        rootKey: rootKeyFrom(rootKeySource(settings)),
        acceptGeneration: settings.acceptGeneration,
      }),
  });
} catch (error) {
  // Without an exit the connection would keep alive a vault that never opened.
  process.stderr.write(
    `The secrets service could not start: ${error instanceof Error ? error.message : String(error)}\n`,
  );
  process.exit(1);
}
