import { format } from "node:util";
import type { Host, LogLevel, PluginDefinition, SecretLease } from "./definition.ts";
import { HostChannel, HostError, type HostRequestHandlers } from "./host-channel.ts";
import type { PluginIo } from "./process-io.ts";

/** Starts and stops a plugin once, whoever asks first, and connects it to its host. */
export class Lifecycle {
  readonly #definition: PluginDefinition;
  readonly #io: PluginIo;
  readonly #channel: HostChannel;
  #config: Readonly<Record<string, unknown>> = {};
  #started: Promise<void> | undefined;
  #state: "new" | "started" | "failed" = "new";
  #stopped: Promise<void> | undefined;

  constructor(definition: PluginDefinition, io: PluginIo) {
    this.#definition = definition;
    this.#io = io;
    this.#channel = new HostChannel(io.connectHost, this.#requestHandlers());
    if (io.opensHostChannel) this.#channel.open();
  }

  /** Writes a line to stderr, formatted as `console.log` does. */
  log(...parts: unknown[]): void {
    this.#io.log(format(...parts));
  }

  /** Runs `start`, the first time. */
  start(): Promise<void> {
    this.#started ??= this.#runStart();
    return this.#started;
  }

  /**
   * Runs `stop`, the first time, and only if `start` has succeeded; one that still runs is not waited for.
   *
   * @throws when `start` or `stop` failed.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#runStop();
    return this.#stopped;
  }

  /** The host as one call sees it: each host call says which call it serves, and belongs to its trace. */
  hostFor(call: { id?: string | number; traceparent?: string | undefined; signal?: AbortSignal }): Host {
    const meta = { ...(call.id !== undefined && { "dev.warren/call": call.id }), traceparent: call.traceparent };
    return {
      secrets: {
        lease: async (name) =>
          (await this.#channel.request("host/secrets.lease", { name, _meta: meta }, call.signal)) as SecretLease,
      },
      log: (message, level = "info") => this.#logToHost(message, level, meta),
    };
  }

  #logToHost(message: string, level: LogLevel, meta: object): void {
    try {
      this.#channel.notify("host/log", { level, message, _meta: meta });
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      this.#io.log(`[${level}] ${message}`);
    }
  }

  async #runStart(): Promise<void> {
    const context = { config: this.#config, log: (...parts: unknown[]) => this.log(...parts), host: this.hostFor({}) };
    try {
      await this.#definition.start?.(context);
      this.#state = "started";
    } catch (error) {
      this.#state = "failed";
      this.log("the plugin did not start:", error);
      throw error;
    }
  }

  async #runStop(): Promise<void> {
    if (this.#state === "failed") await this.#started;
    if (this.#state === "started") await this.#definition.stop?.();
  }

  async #configure(config: unknown): Promise<void> {
    if (typeof config !== "object" || config === null) return;
    const changed = config as Readonly<Record<string, unknown>>;
    if (this.#started !== undefined) await this.#definition.configChanged?.(changed);
    this.#config = changed;
  }

  #requestHandlers(): HostRequestHandlers {
    return {
      "plugin/start": async ({ config }) => {
        await this.#configure(config);
        await this.start();
      },
      "plugin/stop": () => this.stop(),
      "plugin/health": async () => (await this.#definition.health?.()) ?? { status: "healthy" },
      "plugin/config": ({ config }) => this.#configure(config),
      "plugin/saveState": async () => ({ state: (await this.#definition.saveState?.()) ?? null }),
      "plugin/restoreState": async ({ state }) => {
        await this.#definition.restoreState?.(state);
      },
    };
  }
}
