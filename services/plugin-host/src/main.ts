// The plugin host.
import { trace } from "@opentelemetry/api";
import { runService } from "@warren/service";
import { createPluginHost, defaultInstanceFigures } from "./app.ts";
import { config, nodeProgram, npmEnvironment, npmProgram, storeFolder } from "./config.ts";
import { lazySandbox } from "./lifecycle/lazy-sandbox.ts";
import { createBubblewrapSandbox } from "./sandbox/sandbox.ts";

await runService({
  name: "plugin-host",
  description: "Runs untrusted plugins in a sandbox and serves their tools",
  config,
  start: ({ config: settings, mesh, log, health, telemetry, metrics: { registry } }) =>
    createPluginHost({
      mesh,
      log,
      health,
      telemetry,
      registry,
      tracer: trace.getTracer("@warren/plugin-host"),
      sandbox: lazySandbox(() => createBubblewrapSandbox({ cgroupParent: settings.cgroupParent })),
      storeDir: storeFolder(settings),
      nodePath: nodeProgram(),
      npm: {
        npmPath: npmProgram(settings.path),
        nodePath: nodeProgram(),
        env: npmEnvironment(settings),
        timeoutMs: settings.npmTimeoutMs,
      },
      drainMs: settings.drainGraceMs,
      figures: { ...defaultInstanceFigures, startTimeoutMs: settings.startTimeoutMs },
    }),
});
