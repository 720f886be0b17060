// Makes this host run what is desired: one runner for each installed plugin that it owns, restarted when it was replaced.
import type { KvCache } from "@warren/mesh";
import type { PluginRecord } from "@warren/proto/warren/plugins/v1/plugins";
import type { Runner } from "./runner.ts";

/** What the supervisor works with. */
export interface SupervisorDependencies {
  /** The desired state. */
  readonly records: Pick<KvCache<PluginRecord>, "get" | "entries" | "onChange">;
  readonly owns: (record: PluginRecord) => boolean;
  readonly createRunner: (record: PluginRecord) => Runner;
  /** A plugin is no longer run here. */
  readonly onGone: (record: PluginRecord) => void;
}

/** Runs plugins as the records say. */
export class Supervisor {
  readonly #deps: SupervisorDependencies;
  readonly #runners = new Map<string, Runner>();
  /** One change after the other for each plugin. */
  readonly #turns = new Map<string, Promise<void>>();
  readonly #waiting = new Set<() => void>();
  #forget: () => void = () => undefined;
  #stopped = false;

  constructor(deps: SupervisorDependencies) {
    this.#deps = deps;
  }

  /** Begins to run what is installed. The contract must be served by then. */
  start(): void {
    this.#forget = this.#deps.records.onChange(({ key }) => this.#schedule(key));
    for (const [id] of this.#deps.records.entries()) this.#schedule(id);
  }

  /** The runner of a plugin, if it is run here. */
  runner(pluginId: string): Runner | undefined {
    return this.#runners.get(pluginId);
  }

  /** All plugins run here. */
  runners(): Iterable<Runner> {
    return this.#runners.values();
  }

  /** Whether the host is stopping. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /**
   * The runner of a plugin that is known to be installed, as soon as this host has taken notice.
   * @param generation which installation; absent: any.
   * @returns undefined when `signal` fired first.
   */
  async awaitRunner(
    pluginId: string,
    generation: string | undefined,
    signal: AbortSignal,
  ): Promise<Runner | undefined> {
    for (;;) {
      const runner = this.#runners.get(pluginId);
      if (runner && (generation === undefined || runner.record.generation === generation)) return runner;
      if (signal.aborted) return undefined;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          signal.removeEventListener("abort", wake);
          resolve();
        };
        this.#waiting.add(wake);
        signal.addEventListener("abort", wake, { once: true });
      });
    }
  }

  /** Stops all plugins, at once. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#forget();
    await Promise.all([...this.#runners.values()].map((runner) => runner.stop()));
    await Promise.all(this.#turns.values());
  }

  #schedule(pluginId: string): void {
    const before = this.#turns.get(pluginId) ?? Promise.resolve();
    const turn = before.then(() => this.#reconcile(pluginId));
    this.#turns.set(pluginId, turn);
    void turn.finally(() => {
      if (this.#turns.get(pluginId) === turn) this.#turns.delete(pluginId);
    });
  }

  async #reconcile(pluginId: string): Promise<void> {
    if (this.#stopped) return;
    const record = this.#deps.records.get(pluginId);
    const desired = record && this.#deps.owns(record) ? record : undefined;
    const current = this.#runners.get(pluginId);
    if (current && current.record.generation === desired?.generation) return;
    if (current) {
      await current.stop();
      this.#runners.delete(pluginId);
      this.#deps.onGone(current.record);
    }
    if (!desired || this.#stopped) return;
    this.#runners.set(pluginId, this.#deps.createRunner(desired));
    for (const wake of this.#waiting) wake();
  }
}
