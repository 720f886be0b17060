// The agent service.
import { runService } from "@warren/service";
import { createAgent } from "./app.ts";
import { config } from "./config.ts";
import { createProviders } from "./model/providers.ts";

await runService({
  name: "agent",
  description: "Conversations with people, and the model loop behind them",
  config,
  start: async ({ config: settings, mesh, log, metrics: { registry } }) => {
    const models = await createProviders({ ...settings, stallMs: settings.modelStallMs });
    log.info({ models: models.map((model) => model.name) }, "Models in the order of preference");
    return createAgent({ mesh, log, models, settings, registry });
  },
});
