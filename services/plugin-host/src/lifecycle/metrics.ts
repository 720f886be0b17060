// What a plugin host counts of its plugins. The label is the id of an installed plugin: neither tools, whose names are the
// plugin's own and as many as it likes, nor what callers ask for and nobody has.
import type { ToolResult } from "@warren/proto/warren/plugins/v1/plugins";
import { PluginState } from "@warren/proto/warren/plugins/v1/plugins";
import { RpcError, statusName } from "@warren/mesh";
import { Counter, Histogram, type Registry, SECONDS, showGauge, startAtZero } from "@warren/service";
import type { SandboxUsage } from "../sandbox/types.ts";
import { EXIT_CAUSES, type ExitCause } from "./exit.ts";
import type { Instance } from "./instance.ts";
import type { Runner } from "./runner.ts";

/** Endings by which a plugin broke a rule, and did not just fail. */
const VIOLATIONS: ReadonlySet<ExitCause> = new Set(["memory", "unresponsive", "protocol"]);

/** The metrics of a host's plugins. */
export class PluginMetrics {
  readonly #calls: Histogram<"plugin" | "outcome">;
  readonly #starts: Counter<"plugin">;
  readonly #exits: Counter<"plugin" | "cause">;
  readonly #violations: Counter<"plugin" | "kind">;
  readonly #running = new Map<string, Instance>();

  /** @param runners The plugins that this host runs, at any time. */
  constructor(registry: Registry, runners: () => Iterable<Pick<Runner, "record" | "state">>) {
    const registers = [registry];
    this.#calls = new Histogram({
      name: "warren_plugin_call_duration_seconds",
      help: "Time of a tool call with the wait for its plugin, by how it ended",
      labelNames: ["plugin", "outcome"] as const,
      buckets: SECONDS,
      registers,
    });
    const perPlugin = { labelNames: ["plugin"] as const, registers };
    this.#starts = new Counter({
      ...perPlugin,
      name: "warren_plugin_starts_total",
      help: "Plugin processes that came up",
    });
    this.#exits = new Counter({
      name: "warren_plugin_exits_total",
      help: "Plugin processes that ended, by why; stopped: the host wanted it to",
      labelNames: ["plugin", "cause"] as const,
      registers,
    });
    this.#violations = new Counter({
      name: "warren_plugin_violations_total",
      help: "Plugin processes ended for going over a limit or breaking a rule",
      labelNames: ["plugin", "kind"] as const,
      registers,
    });
    const showState = (state: PluginState, name: string, help: string): void =>
      showGauge(registry, { name, help, labelNames: ["plugin"] }, (gauge) => {
        for (const each of runners()) gauge.set({ plugin: each.record.id }, each.state === state ? 1 : 0);
      });
    showState(PluginState.RUNNING, "warren_plugin_up", "1 while the plugin runs on this host");
    const quarantined = "1 while the plugin is not started any more, after repeated failures";
    showState(PluginState.QUARANTINED, "warren_plugin_quarantined", quarantined);
    this.#showUsage(registry);
  }

  /** Shows at 0 what there is to count of a plugin that this host is to run. */
  installed(plugin: string): void {
    startAtZero(this.#starts, { plugin: [plugin] });
    startAtZero(this.#exits, { plugin: [plugin], cause: EXIT_CAUSES });
    startAtZero(this.#violations, { plugin: [plugin], kind: [...VIOLATIONS] });
  }

  /** Counts a call of an installed plugin. */
  async call(pluginId: string, call: () => Promise<ToolResult>): Promise<ToolResult> {
    const started = performance.now();
    let outcome = "ok";
    try {
      const result = await call();
      if (result.isError) outcome = "tool_error";
      return result;
    } catch (error) {
      outcome = error instanceof RpcError ? statusName(error.code) : "INTERNAL";
      throw error;
    } finally {
      this.#calls.observe({ plugin: pluginId, outcome }, (performance.now() - started) / 1000);
    }
  }

  /** Follows a process from its start to its end. */
  started(plugin: string, instance: Instance): void {
    this.#starts.inc({ plugin });
    this.#running.set(plugin, instance);
    void instance.exited.then(({ cause }) => {
      if (this.#running.get(plugin) === instance) this.#running.delete(plugin);
      this.#exits.inc({ plugin, cause });
      if (VIOLATIONS.has(cause)) this.#violations.inc({ plugin, kind: cause });
    });
  }

  #showUsage(registry: Registry): void {
    const show = (name: string, help: string, figure: (usage: SandboxUsage) => number): void =>
      showGauge(registry, { name, help, labelNames: ["plugin"] }, async (gauge) => {
        await Promise.all(
          [...this.#running].map(async ([plugin, instance]) => gauge.set({ plugin }, figure(await instance.usage()))),
        );
      });
    show("warren_plugin_memory_bytes", "Memory of the plugin's processes", ({ memoryBytes }) => memoryBytes);
    const limit = { name: "warren_plugin_memory_limit_bytes", help: "Memory that the plugin's processes may use" };
    showGauge(registry, { ...limit, labelNames: ["plugin"] }, (gauge) => {
      for (const [plugin, { memoryLimit }] of this.#running) gauge.set({ plugin }, memoryLimit);
    });
    show("warren_plugin_processes", "Processes of the plugin", ({ processes }) => processes);
    // A gauge, since it begins anew with each process; its rate is the plugin's share of a processor.
    const cpu = "Processor time of the plugin's running processes since they started";
    show("warren_plugin_cpu_seconds", cpu, ({ cpuSeconds }) => cpuSeconds);
  }
}
