// From a record to a running process: package, mounts, sandbox, session, in the era that the server speaks.
import { randomUUID } from "node:crypto";
import { ResourceLimits } from "@warren/proto/warren/plugins/v1/plugins";
import { Guard } from "../permissions/guard.ts";
import { mountsOf } from "../permissions/mounts.ts";
import type { CallTracing } from "../protocol/call-tracing.ts";
import { createHostMethods, type SecretLeases } from "../protocol/host-methods.ts";
import { InitializeRefused } from "../protocol/mcp-client.ts";
import type { PackageStore } from "../registry/store.ts";
import type { Sandbox } from "../sandbox/types.ts";
import { Instance, type InstanceFigures, type InstanceOptions } from "./instance.ts";
import { NotRunnable, sandboxSpec } from "./launch.ts";
import { PluginFault, type RunnerDependencies } from "./runner.ts";

/** What processes are started with. */
export interface StartDependencies {
  readonly store: PackageStore;
  readonly sandbox: Sandbox;
  /** Node.js for plugins: an absolute path without symbolic links. */
  readonly nodePath: string;
  /** Folders of the host that no plugin may see. */
  readonly forbidden: readonly string[];
  readonly figures: InstanceFigures;
  readonly leasesFor: (pluginId: string, instanceId: string) => SecretLeases;
  readonly tracing: CallTracing;
}

/** How runners start processes. */
export function createInstanceStarter(deps: StartDependencies): RunnerDependencies["startInstance"] {
  return async (record, log, hooks) => {
    const { folder, manifest } = await deps.store.ensure(record.packageDigest);
    const mounts = await mountsOf(record.grants, deps.forbidden);
    const limits = record.limits ?? ResourceLimits.fromPartial(manifest.limits);
    const spec = specOf({ pluginId: record.id, manifest, limits, root: folder, mounts, nodePath: deps.nodePath });
    const leases = deps.leasesFor(record.id, randomUUID());
    const options: Omit<InstanceOptions, "era"> = {
      pluginId: record.id,
      spec,
      sandbox: deps.sandbox,
      figures: deps.figures,
      log,
      hostMethods: createHostMethods({ guard: new Guard(record.grants), leases, log: (text) => log.add("host", text) }),
      tracing: deps.tracing,
      onToolsChanged: hooks.onToolsChanged,
    };
    hooks.signal.throwIfAborted();
    hooks.onStarting();
    try {
      const instance = await startInItsEra(options);
      log.add("host", `${record.id} ${record.version} runs, with ${instance.tools.size} tools`);
      return { instance, release: () => leases.revokeAll() };
    } catch (error) {
      await leases.revokeAll();
      throw error;
    }
  };
}

/** `initialize` first, which almost every server knows; one that does not is started once more and asked in the newer way. */
async function startInItsEra(options: Omit<InstanceOptions, "era">): Promise<Instance> {
  try {
    return await Instance.start({ ...options, era: "initialize" });
  } catch (error) {
    if (!(error instanceof InitializeRefused)) throw error;
    return await Instance.start({ ...options, era: "stateless" });
  }
}

function specOf(input: Parameters<typeof sandboxSpec>[0]): ReturnType<typeof sandboxSpec> {
  try {
    return sandboxSpec(input);
  } catch (error) {
    if (error instanceof NotRunnable) throw new PluginFault(error.message, { cause: error });
    throw error;
  }
}
