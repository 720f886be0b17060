// What this host says of its plugins: written at each change and again before it expires, and told as events.
import type { Kv } from "@warren/mesh";
import { PluginState, type PluginStatus } from "@warren/proto/warren/plugins/v1/plugins";
import type { Runner } from "../lifecycle/runner.ts";

/** What the publisher works with. */
export interface StatusDependencies {
  readonly bucket: Kv<PluginStatus>;
  readonly hostId: string;
  /** Shorter than a third of the bucket's time to live, in milliseconds. */
  readonly refreshMs: number;
  readonly runners: () => Iterable<Runner>;
  /** A plugin of this host is in another state. Must not throw. */
  readonly onStateChange: (pluginId: string, state: PluginState, reason: string) => void;
  readonly onError: (error: unknown) => void;
}

/** Keeps this host's entries fresh. One write at a time for each plugin, the newest word last. */
export class StatusPublisher {
  readonly #deps: StatusDependencies;
  readonly #told = new Map<string, PluginState>();
  readonly #pending = new Map<string, Runner>();
  readonly #writing = new Map<string, Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  #stopped = false;

  constructor(deps: StatusDependencies) {
    this.#deps = deps;
    this.#timer = setInterval(() => this.refresh(), deps.refreshMs);
  }

  /** Writes everything again, before its turn. */
  refresh(): void {
    for (const runner of this.#deps.runners()) this.#queue(runner);
  }

  /** A runner changed. */
  changed(runner: Runner): void {
    const { id } = runner.record;
    if (this.#told.get(id) !== runner.state) {
      this.#told.set(id, runner.state);
      this.#deps.onStateChange(id, runner.state, runner.reason);
    }
    if (runner.state === PluginState.STOPPED) return;
    this.#queue(runner);
  }

  /** This host no longer runs a plugin. */
  async gone(pluginId: string): Promise<void> {
    this.#told.delete(pluginId);
    await this.#after(pluginId, () => this.#deps.bucket.delete(this.#key(pluginId)));
  }

  /** Takes everything back that this host said. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await Promise.all([...this.#deps.runners()].map((runner) => this.gone(runner.record.id)));
  }

  #queue(runner: Runner): void {
    if (this.#stopped) return;
    const { id } = runner.record;
    const isPending = this.#pending.has(id);
    this.#pending.set(id, runner);
    if (isPending) return;
    void this.#after(id, async () => {
      const newest = this.#pending.get(id);
      this.#pending.delete(id);
      if (newest && !this.#stopped && newest.state !== PluginState.STOPPED)
        await this.#deps.bucket.put(this.#key(id), statusOf(newest, this.#deps.hostId));
    });
  }

  #after(pluginId: string, write: () => Promise<unknown>): Promise<void> {
    const turn = (this.#writing.get(pluginId) ?? Promise.resolve())
      .then(write)
      .then(() => undefined, this.#deps.onError);
    this.#writing.set(pluginId, turn);
    void turn.then(() => {
      if (this.#writing.get(pluginId) === turn) this.#writing.delete(pluginId);
    });
    return turn;
  }

  #key(pluginId: string): string {
    return `${pluginId}.${this.#deps.hostId}`;
  }
}

function statusOf(runner: Runner, hostId: string): PluginStatus {
  return {
    pluginId: runner.record.id,
    hostId,
    state: runner.state,
    stateReason: runner.reason,
    tools: [...runner.tools],
    generation: runner.record.generation,
    restarts: runner.restarts,
    updateTime: new Date(),
  };
}
