// One installed plugin on this host: keeps one process of it running, restarts it, gives it up, stops it.
import { remainingMs, RpcError, type ServedKey, StatusCode } from "@warren/mesh";
import type { PluginRecord, Tool, ToolResult } from "@warren/proto/warren/plugins/v1/plugins";
import { PluginState } from "@warren/proto/warren/plugins/v1/plugins";
import { StartFailed, type Instance } from "./instance.ts";
import type { PluginLog } from "./plugin-log.ts";
import type { RestartPolicy } from "./restart.ts";

/** A process that was started, and what is to be done when it has ended. */
export interface StartedInstance {
  readonly instance: Instance;
  /** Revokes what was lent to it. */
  readonly release: () => Promise<void>;
}

/** What a runner works with. */
export interface RunnerDependencies {
  /**
   * Makes the package available and starts a process.
   * @param onStarting called when the package is there and the process is about to start.
   * @throws StartFailed or PluginFault for what is the plugin's fault; anything else is this host's.
   */
  readonly startInstance: (record: PluginRecord, log: PluginLog, hooks: InstanceHooks) => Promise<StartedInstance>;
  /** Takes calls for the plugin from the mesh. */
  readonly serveKey: (pluginId: string) => Promise<ServedKey>;
  readonly policy: RestartPolicy;
  readonly log: PluginLog;
  /** How long calls in flight may go on when the plugin is stopped, in milliseconds. */
  readonly drainMs: number;
  readonly onChange: (runner: Runner) => void;
}

/** What a starting process tells its runner. */
export interface InstanceHooks {
  readonly onStarting: () => void;
  readonly onToolsChanged: (tools: readonly Tool[]) => void;
  readonly signal: AbortSignal;
}

/** The plugin cannot run, by its own fault: trying again brings nothing but is tried, until quarantine. */
export class PluginFault extends Error {
  override readonly name = "PluginFault";
}

/** How long a call waits for a restart that is due, rather than being told that the plugin is down. */
const PATIENCE_MS = 3000;
/** What is left of a deadline for the answer's way back, so that the caller learns more than that time is up. */
const RETURN_MS = 100;

/** Runs one generation of one plugin until it is stopped. */
export class Runner {
  readonly record: PluginRecord;
  readonly log: PluginLog;
  readonly #deps: RunnerDependencies;
  readonly #stopping = new AbortController();
  readonly #done: Promise<void>;
  readonly #waiting = new Set<() => void>();
  #state: PluginState = PluginState.INSTALLED;
  #reason = "";
  #tools: readonly Tool[] = [];
  #restarts = 0;
  #restartAt = 0;
  #instance: Instance | undefined;

  constructor(record: PluginRecord, deps: RunnerDependencies) {
    this.record = record;
    this.log = deps.log;
    this.#deps = deps;
    this.#done = this.#run();
  }

  get state(): PluginState {
    return this.#state;
  }

  /** Why, when it failed or is quarantined. */
  get reason(): string {
    return this.#reason;
  }

  /** Its tools as last listed, also while it restarts. */
  get tools(): readonly Tool[] {
    return this.#tools;
  }

  get restarts(): number {
    return this.#restarts;
  }

  /**
   * Calls a tool, waiting for a plugin that is about to run.
   * @param deadline the caller's, on `performance.now()`'s clock.
   * @throws RpcError
   */
  async call(tool: string, args: Record<string, unknown>, deadline: number, signal: AbortSignal): Promise<ToolResult> {
    const limit = this.record.limits?.callTimeoutMs ?? Number.POSITIVE_INFINITY;
    for (;;) {
      const instance = await this.#ready(deadline, signal);
      const left = remainingMs(deadline);
      const timeoutMs = Math.max(1, Math.min(limit, left - Math.min(RETURN_MS, left / 10)));
      try {
        return await instance.call(tool, args, timeoutMs, signal);
      } catch (error) {
        // It ended between the look and the call: nothing was sent.
        const unsent = error instanceof RpcError && error.details.reason === "DRAINING";
        if (!unsent || this.#stopping.signal.aborted) throw error;
        if (this.#instance === instance) this.#instance = undefined;
      }
    }
  }

  /** Resolves when it runs; rejects with an RpcError FAILED_PRECONDITION when its first start did not succeed. */
  async settled(signal: AbortSignal): Promise<void> {
    while (this.#state !== PluginState.RUNNING) {
      if (
        this.#state === PluginState.FAILED ||
        this.#state === PluginState.QUARANTINED ||
        this.#stopping.signal.aborted
      )
        throw new RpcError(StatusCode.FAILED_PRECONDITION, this.#reason || "it was stopped", {
          reason: "PLUGIN_FAILED",
        });
      await this.#change(signal);
    }
  }

  /** Takes no more calls, lets those in flight end, stops the process. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    const { policy, log } = this.#deps;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const failure = await this.#runOnce();
      if (!failure) break;
      log.add("host", failure.reason);
      const decision = failure.byPlugin ? policy.crashed() : policy.failed();
      if (decision.kind === "quarantine") {
        const reason = `quarantined after repeated failures, the last: ${failure.reason}`;
        log.add("host", reason);
        this.#set(PluginState.QUARANTINED, reason);
        await aborted(signal);
        break;
      }
      this.#restartAt = performance.now() + decision.delayMs;
      this.#set(PluginState.FAILED, failure.reason);
      await elapse(decision.delayMs, signal);
      if (!signal.aborted) this.#restarts++;
    }
    this.#set(PluginState.STOPPED, "");
  }

  /** One process from its start to its end. Undefined: it was stopped. */
  async #runOnce(): Promise<{ reason: string; byPlugin: boolean } | undefined> {
    const { signal } = this.#stopping;
    this.#set(PluginState.LOADING, this.#reason);
    let started: StartedInstance;
    try {
      started = await this.#deps.startInstance(this.record, this.log, {
        signal,
        onStarting: () => this.#set(PluginState.STARTING, this.#reason),
        onToolsChanged: (tools) => this.#setTools(tools),
      });
    } catch (error) {
      if (signal.aborted) return undefined;
      const reason = error instanceof Error ? error.message : String(error);
      return { reason, byPlugin: error instanceof StartFailed || error instanceof PluginFault };
    }
    const { instance, release } = started;
    try {
      return await this.#serve(instance);
    } finally {
      await release();
    }
  }

  async #serve(instance: Instance): Promise<{ reason: string; byPlugin: boolean } | undefined> {
    const { signal } = this.#stopping;
    let served: ServedKey | undefined;
    try {
      this.#instance = instance;
      this.#tools = [...instance.tools.values()];
      served = await this.#deps.serveKey(this.record.id);
      this.#deps.policy.started();
      if (!signal.aborted) this.#set(PluginState.RUNNING, "");
      const ended = new AbortController();
      const report = await Promise.race([instance.exited, aborted(AbortSignal.any([signal, ended.signal]))]);
      ended.abort();
      if (report) return { reason: report.reason, byPlugin: true };
      this.#set(PluginState.DRAINING, "");
      await served.drain();
      return undefined;
    } catch (error) {
      return {
        reason: `this host could not serve it: ${error instanceof Error ? error.message : String(error)}`,
        byPlugin: false,
      };
    } finally {
      this.#instance = undefined;
      // Calls that come by the key until the drain is through wait for the next process.
      if (!signal.aborted) served?.drain().catch(() => undefined);
      await instance.stop(signal.aborted ? this.#deps.drainMs : 0);
    }
  }

  async #ready(deadline: number, signal: AbortSignal): Promise<Instance> {
    const { id } = this.record;
    for (;;) {
      // Also while it drains: calls that were on their way are still taken.
      if (this.#instance?.alive) return this.#instance;
      if (this.#stopping.signal.aborted)
        throw new RpcError(StatusCode.UNAVAILABLE, `Plugin ${id} is being stopped on this host`, {
          reason: "DRAINING",
        });
      if (this.#state === PluginState.QUARANTINED)
        throw new RpcError(
          StatusCode.FAILED_PRECONDITION,
          `Plugin ${id} is ${this.#reason}. Install it again to clear this`,
          { reason: "PLUGIN_QUARANTINED" },
        );
      const wait = this.#restartAt - performance.now();
      if (this.#state === PluginState.FAILED && wait > Math.min(PATIENCE_MS, remainingMs(deadline)))
        throw new RpcError(StatusCode.UNAVAILABLE, `Plugin ${id} is down: it ${this.#reason}`, {
          reason: "PLUGIN_FAILED",
          retryAfterMs: Math.ceil(wait),
        });
      await this.#change(signal);
    }
  }

  /** Waits for the next change. Rejects when `signal` fires. */
  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const expire = (): void => {
        this.#waiting.delete(wake);
        reject(
          new RpcError(StatusCode.DEADLINE_EXCEEDED, `Plugin ${this.record.id} did not start in time`, {
            reason: "PLUGIN_STARTING",
          }),
        );
      };
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener("abort", expire);
        resolve();
      };
      if (signal.aborted) return expire();
      signal.addEventListener("abort", expire, { once: true });
      this.#waiting.add(wake);
    });
  }

  #set(state: PluginState, reason: string): void {
    if (this.#state === state && this.#reason === reason) return;
    this.#state = state;
    this.#reason = reason;
    this.#changed();
  }

  #setTools(tools: readonly Tool[]): void {
    this.#tools = tools;
    this.#changed();
  }

  #changed(): void {
    for (const wake of this.#waiting) wake();
    this.#deps.onChange(this);
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

function elapse(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
}
