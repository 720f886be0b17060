// What is installed and what all hosts say of it, joined into what a person sees.
import type { Kv } from "@warren/mesh";
import { type Manifest, parseManifest } from "@warren/plugin-manifest";
import {
  IsolationLevel,
  type Plugin,
  type PluginRecord,
  PluginState,
  type PluginStatus,
} from "@warren/proto/warren/plugins/v1/plugins";

/** Which state stands for a plugin that several hosts report: the first of these that any reports. */
const PRECEDENCE: readonly PluginState[] = [
  PluginState.RUNNING,
  PluginState.STARTING,
  PluginState.INITIALIZED,
  PluginState.LOADING,
  PluginState.DRAINING,
  PluginState.QUARANTINED,
  PluginState.FAILED,
  PluginState.STOPPED,
];

const levels: Readonly<Record<Manifest["isolation"], IsolationLevel>> = {
  none: IsolationLevel.PROCESS,
  process: IsolationLevel.PROCESS,
  container: IsolationLevel.CONTAINER,
  vm: IsolationLevel.VM,
};

/** Reads the desired state and the hosts' words from the mesh, always the newest. */
export class Catalogue {
  readonly #records: Kv<PluginRecord>;
  readonly #statuses: Kv<PluginStatus>;

  constructor(records: Kv<PluginRecord>, statuses: Kv<PluginStatus>) {
    this.#records = records;
    this.#statuses = statuses;
  }

  /** One plugin; undefined when it is not installed. */
  async get(id: string): Promise<Plugin | undefined> {
    const [record, statuses] = await Promise.all([this.#records.get(id), this.#statuses.entries(id)]);
    return (
      record &&
      toPlugin(
        record.value,
        statuses.map(({ value }) => value),
      )
    );
  }

  /** Plugins in the order of their ids, those after `after`. */
  async list(after: string, size: number): Promise<{ plugins: Plugin[]; more: boolean }> {
    const [records, statuses] = await Promise.all([this.#records.entries(), this.#statuses.entries()]);
    const byPlugin = Map.groupBy(
      statuses.map(({ value }) => value),
      ({ pluginId }) => pluginId,
    );
    const rest = records
      .map(({ value }) => value)
      .filter(({ id }) => id > after)
      .toSorted((left, right) => (left.id < right.id ? -1 : 1));
    return {
      plugins: rest.slice(0, size).map((record) => toPlugin(record, byPlugin.get(record.id) ?? [])),
      more: rest.length > size,
    };
  }

  /** Whether any installed plugin needs a package. */
  async refersTo(digest: string): Promise<boolean> {
    return (await this.#records.entries()).some(({ value }) => value.packageDigest === digest);
  }
}

/** A plugin as all hosts together present it. Words about another installation of it do not count. */
export function toPlugin(record: PluginRecord, statuses: readonly PluginStatus[]): Plugin {
  const current = statuses.filter(({ generation }) => generation === record.generation);
  const state = PRECEDENCE.find((each) => current.some((status) => status.state === each)) ?? PluginState.INSTALLED;
  const speaker = current.find((status) => status.state === state);
  const manifest = parseManifest(record.manifestJson);
  return {
    id: record.id,
    version: record.version,
    name: manifest.name,
    description: manifest.description,
    runtime: manifest.runtime,
    state,
    stateReason: speaker?.stateReason ?? "",
    isolation: levels[manifest.isolation],
    packageDigest: record.packageDigest,
    grants: record.grants,
    limits: record.limits,
    tools: speaker?.tools ?? [],
    installTime: record.installTime,
    runningHosts: current.filter((status) => status.state === PluginState.RUNNING).length,
    origin: record.origin,
    restarts: current.reduce((sum, { restarts }) => sum + restarts, 0),
  };
}
