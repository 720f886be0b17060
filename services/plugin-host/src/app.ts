// The plugin host, wired: what tests build and main runs. Nothing here reads the environment.
import { resolve } from "node:path";
import type { Tracer } from "@opentelemetry/api";
import { jsonCodec, type Mesh, protoCodec } from "@warren/mesh";
import { PluginInstalled, PluginRemoved, PluginStateChanged } from "@warren/proto/warren/events/v1/events";
import {
  PluginRecord,
  pluginStateToJSON,
  PluginServiceDefinition,
  PluginStatus,
} from "@warren/proto/warren/plugins/v1/plugins";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { type Health, type Logger, Registry, type Telemetry } from "@warren/service";
import { createHandlers } from "./handlers.ts";
import { IdempotentCalls } from "./lifecycle/idempotency.ts";
import type { InstanceFigures } from "./lifecycle/instance.ts";
import type { LazySandbox } from "./lifecycle/lazy-sandbox.ts";
import { PluginMetrics } from "./lifecycle/metrics.ts";
import { PluginLog } from "./lifecycle/plugin-log.ts";
import { defaultRestartFigures, type RestartFigures, RestartPolicy } from "./lifecycle/restart.ts";
import { Runner } from "./lifecycle/runner.ts";
import { createSecretLeases } from "./lifecycle/secret-leases.ts";
import { createInstanceStarter } from "./lifecycle/start-instance.ts";
import { Supervisor } from "./lifecycle/supervisor.ts";
import { type Member, Membership } from "./placement/members.ts";
import { owns } from "./placement/owns.ts";
import { defaultChannelLimits } from "./protocol/channel.ts";
import { defaultHostCallLimits } from "./protocol/host-calls.ts";
import { defaultListLimits } from "./protocol/mcp-client.ts";
import { Catalogue } from "./registry/catalogue.ts";
import type { NpmOptions } from "./registry/mcp-install.ts";
import { StatusPublisher } from "./registry/status-publisher.ts";
import { PackageStore } from "./registry/store.ts";

/** What a plugin host is built of. */
export interface PluginHostOptions {
  readonly mesh: Mesh;
  readonly sandbox: LazySandbox;
  readonly log: Pick<Logger, "info" | "warn" | "error">;
  readonly health: Pick<Health, "check">;
  readonly telemetry: Pick<Telemetry, "recordForeignSpan">;
  readonly tracer: Tracer;
  /** Folder for unpacked packages. */
  readonly storeDir: string;
  /** Node.js for plugins: an absolute path without symbolic links. */
  readonly nodePath: string;
  readonly npm: NpmOptions;
  /** How long calls in flight may go on when the host stops, in milliseconds. */
  readonly drainMs: number;
  readonly figures?: Partial<InstanceFigures>;
  readonly restart?: RestartFigures;
  /** Where plugins are counted; absent: nowhere that anybody sees. */
  readonly registry?: Registry;
}

/** A plugin host that serves. */
export interface PluginHost {
  /** Leaves the hosts, hands the calls over, ends the plugins. The mesh must still be up. */
  drain(): Promise<void>;
  /** Ends what reads the mesh. */
  stop(): Promise<void>;
}

const MEMBER_REFRESH_MS = 2000;
const STATUS_REFRESH_MS = 3000;

/** The times and bounds of plugin processes, where nothing else is asked for. */
export const defaultInstanceFigures: InstanceFigures = {
  channel: defaultChannelLimits,
  hostCalls: defaultHostCallLimits,
  list: defaultListLimits,
  startTimeoutMs: 15_000,
  graceMs: 2000,
  stopMs: 1500,
};

/** Builds a plugin host, serves its contract, and starts what is installed. */
export async function createPluginHost(options: PluginHostOptions): Promise<PluginHost> {
  const { mesh, sandbox, log, health, tracer, telemetry, nodePath, npm } = options;
  const hostId = mesh.instanceId;
  const records = await mesh.kv("plugins", protoCodec<PluginRecord>(PluginRecord));
  const statuses = await mesh.kv("plugin_status", protoCodec<PluginStatus>(PluginStatus));
  const members = await mesh.kv("plugin_hosts", jsonCodec<Member>());
  const storeDir = resolve(options.storeDir);
  const store = await PackageStore.open(await mesh.objects("plugin_packages"), storeDir);
  const secrets = mesh.client(SecretsServiceDefinition);
  const logs = new Map<string, PluginLog>();
  const warn = (text: string) => (err: unknown) => log.warn({ err }, text);
  const announce = (published: Promise<void>): void => {
    published.catch(warn("An event could not be published"));
  };

  const metrics = new PluginMetrics(options.registry ?? new Registry(), () => supervisor.runners());
  const start = createInstanceStarter({
    store,
    sandbox,
    nodePath,
    forbidden: [storeDir],
    figures: { ...defaultInstanceFigures, ...options.figures },
    leasesFor: (pluginId, instanceId) =>
      createSecretLeases(secrets, pluginId, instanceId, warn("Leases could not be ended: they expire")),
    tracing: { tracer, recordForeignSpan: (service, span) => telemetry.recordForeignSpan(service, span) },
  });
  const startInstance: typeof start = async (record, ...rest) => {
    const started = await start(record, ...rest);
    metrics.started(record.id, started.instance);
    return started;
  };
  const createRunner = (record: PluginRecord): Runner => {
    metrics.installed(record.id);
    const pluginLog = logs.get(record.id) ?? new PluginLog();
    logs.set(record.id, pluginLog);
    return new Runner(record, {
      startInstance,
      serveKey: (pluginId) => mesh.serveKey(PluginServiceDefinition, "callTool", pluginId),
      policy: new RestartPolicy(options.restart ?? defaultRestartFigures),
      log: pluginLog,
      drainMs: options.drainMs,
      onChange: (runner) => publisher.changed(runner),
    });
  };

  const cache = await records.cached();
  const publisher = new StatusPublisher({
    bucket: statuses,
    hostId,
    refreshMs: STATUS_REFRESH_MS,
    runners: () => supervisor.runners(),
    onStateChange: (pluginId, state, reason) => {
      const name = pluginStateToJSON(state).replace("PLUGIN_STATE_", "");
      log.info({ pluginId, state: name, reason }, "A plugin changed its state");
      announce(
        mesh.publish(
          PluginStateChanged,
          { pluginId, hostId, state: name, reason, time: new Date() },
          { key: pluginId },
        ),
      );
    },
    onError: warn("A plugin's status could not be written: the next turn tries again"),
  });
  const collect = (digest: string): void => {
    store.collect(digest, () => catalogue.refersTo(digest)).catch(warn("A package could not be removed"));
    store.sweep(referenced()).catch(warn("Unpacked packages could not be removed"));
  };
  const referenced = (): ReadonlySet<string> =>
    new Set([...cache.entries()].map(([, { packageDigest }]) => packageDigest));
  const catalogue = new Catalogue(records, statuses);
  const supervisor = new Supervisor({
    records: cache,
    owns: (record) => owns(record, [], hostId),
    createRunner,
    onGone: ({ id }) => {
      if (!cache.get(id)) logs.delete(id);
      void publisher.gone(id);
    },
  });

  const installing = {
    records,
    store,
    supervisor,
    npm,
    forbidden: [storeDir],
    onInstalled: ({ id, version, packageDigest, grants, installedBy }: PluginRecord) =>
      announce(
        mesh.publish(
          PluginInstalled,
          { pluginId: id, version, packageDigest, grants, principal: installedBy, time: new Date() },
          { key: id },
        ),
      ),
    onUnreferenced: collect,
  };
  const handlers = createHandlers({
    hostId,
    records,
    catalogue,
    supervisor,
    installing,
    remembered: new IdempotentCalls(),
    metrics,
    logOf: (pluginId) => logs.get(pluginId),
    onRemoved: ({ id, packageDigest }, principal) => {
      announce(mesh.publish(PluginRemoved, { pluginId: id, principal, time: new Date() }, { key: id }));
      collect(packageDigest);
    },
  });
  // What this host said may have expired while it could not say it again.
  const forget = mesh.onReconnect(() => publisher.refresh());
  health.check("isolation", () => sandbox.check());
  await mesh.serve(PluginServiceDefinition, handlers);
  supervisor.start();
  const membership = new Membership(
    members,
    { hostId, levels: [sandbox.level], since: Date.now() },
    MEMBER_REFRESH_MS,
    warn("This host's membership could not be refreshed"),
  );
  store.sweep(referenced()).catch(warn("Unpacked packages could not be removed"));

  return {
    async drain() {
      await membership.leave();
      await supervisor.stop();
      await publisher.stop();
    },
    stop() {
      forget();
      cache.close();
      return Promise.resolve();
    },
  };
}
