// Starts processes of the test server, and ends them with the test.
import { fileURLToPath } from "node:url";
import type { TestContext } from "node:test";
import { trace } from "@opentelemetry/api";
import { defaultInstanceFigures } from "../../src/app.ts";
import { Instance, type InstanceFigures, type InstanceOptions } from "../../src/lifecycle/instance.ts";
import { NODE_INSIDE } from "../../src/lifecycle/launch.ts";
import { PluginLog } from "../../src/lifecycle/plugin-log.ts";
import { FakeSandbox } from "./fake-sandbox.ts";

const folder = fileURLToPath(new URL(".", import.meta.url));

/** A started test server. */
export async function startTestServer(
  t: TestContext,
  flags: readonly string[] = [],
  more: Partial<Omit<InstanceOptions, "figures">> & { figures?: Partial<InstanceFigures> } = {},
) {
  const sandbox = new FakeSandbox();
  const log = new PluginLog();
  const options: InstanceOptions = {
    pluginId: "tester",
    spec: {
      name: "tester",
      command: [NODE_INSIDE, "/plugin/server.mjs", ...flags],
      root: folder.replace(/\/$/, ""),
      binds: [],
      env: {},
      limits: { memoryBytes: 256 * 1024 * 1024, cpus: 1, maxProcesses: 64, maxOpenFiles: 256, tmpBytes: 4096 },
      hostChannel: flags.includes("--host-channel"),
    },
    sandbox,
    era: "initialize",
    log,
    hostMethods: {},
    tracing: { tracer: trace.getTracer("test"), recordForeignSpan: () => undefined },
    onToolsChanged: () => undefined,
    ...more,
    figures: { ...defaultInstanceFigures, startTimeoutMs: 5000, graceMs: 300, stopMs: 300, ...more.figures },
  };
  t.after(() => {
    for (const { pid } of sandbox.started) {
      try {
        process.kill(-pid, "SIGKILL");
      } catch {
        // It has ended.
      }
    }
  });
  const instance = await Instance.start(options);
  return {
    instance,
    sandbox,
    log,
    call: (tool: string, args = {}, timeoutMs = 5000, signal = new AbortController().signal) =>
      instance.call(tool, args, timeoutMs, signal),
  };
}

/** The text lines of a log. */
export function texts(log: PluginLog): string[] {
  return log.tail(1000).map(({ text }) => text);
}
