// One process of a plugin: started, asked for its tools, called, stopped. It never comes back; a runner starts the next.
import { RpcError, StatusCode } from "@warren/mesh";
import type { Tool, ToolResult } from "@warren/proto/warren/plugins/v1/plugins";
import { type CallTracing, traceCall } from "../protocol/call-tracing.ts";
import { ChannelBusy, type ChannelLimits, StdioChannel } from "../protocol/channel.ts";
import { type HostCallLimits, type HostMethods, serveHostCalls } from "../protocol/host-calls.ts";
import {
  beginSession,
  type Era,
  InitializeRefused,
  isChannelClosed,
  isInvalidResult,
  type ListLimits,
  type McpSession,
  protocolError,
} from "../protocol/mcp-client.ts";
import type { Sandbox, SandboxedProcess, SandboxSpec, SandboxUsage } from "../sandbox/types.ts";
import { type ExitCause, type ExitReport, inFlightError, judgeExit } from "./exit.ts";
import { captureLines, type PluginLog } from "./plugin-log.ts";
import { Watchdog } from "./watchdog.ts";

/** Times and bounds of a process. */
export interface InstanceFigures {
  readonly channel: ChannelLimits;
  readonly hostCalls: HostCallLimits;
  readonly list: ListLimits;
  /** From the start to the list of tools, in milliseconds. */
  readonly startTimeoutMs: number;
  /** How long a plugin may take to come back after a call's time has passed. */
  readonly graceMs: number;
  /** How long it may take to end by itself once its stdin is closed. */
  readonly stopMs: number;
}

/** What one process is made of. */
export interface InstanceOptions {
  readonly pluginId: string;
  readonly spec: SandboxSpec;
  readonly sandbox: Sandbox;
  readonly era: Era;
  readonly figures: InstanceFigures;
  readonly log: PluginLog;
  /** The plugin's host calls; served when the spec has a host channel. */
  readonly hostMethods: HostMethods;
  readonly tracing: CallTracing;
  readonly onToolsChanged: (tools: readonly Tool[]) => void;
}

/** The process did not come up. The message is one line for people. */
export class StartFailed extends Error {
  override readonly name = "StartFailed";
}

/** How many of its last lines are looked at to say why it ended. */
const REMEMBERED_LINES = 20;

/** A process whose tools are known. */
export class Instance {
  readonly #options: InstanceOptions;
  readonly #process: SandboxedProcess;
  readonly #channel: StdioChannel;
  readonly #watchdog: Watchdog;
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #ended = new AbortController();
  #session: McpSession | undefined;
  #tools: ReadonlyMap<string, Tool> = new Map();
  #ordered: { cause: ExitCause; reason: string } | undefined;
  /** Resolves, never rejects, when the process and all it started are gone. */
  readonly exited: Promise<ExitReport>;

  private constructor(options: InstanceOptions, process: SandboxedProcess) {
    const { pluginId, log, figures, spec } = options;
    this.#options = options;
    this.#process = process;
    const stderr: string[] = [];
    captureLines(process.stderr, (text) => {
      log.add("stderr", text);
      stderr.push(text);
      if (stderr.length > REMEMBERED_LINES) stderr.shift();
    });
    const sink = {
      onFault: (text: string) => log.add("host", `${pluginId} ${text}`),
      onFatal: (reason: string) => this.#end("protocol", reason),
    };
    this.#channel = new StdioChannel(process, figures.channel, { ...sink, onClosed: () => void this.#endIfDeaf() });
    this.#watchdog = new Watchdog({
      graceMs: figures.graceMs,
      ping: (signal) => this.#session?.ping(signal) ?? Promise.resolve(),
      onUnresponsive: () => this.#end("unresponsive", "did not come back from a call within its time and was ended"),
    });
    const hostCalls =
      process.channel &&
      serveHostCalls(process.channel, options.hostMethods, figures.hostCalls, {
        ...sink,
        onFailure: (method) => log.add("host", `${method} failed at the host`),
      });
    this.exited = process.exited.then((exit) => {
      hostCalls?.close();
      this.#watchdog.stop();
      const report = judgeExit(exit, this.#ordered, spec.limits.memoryBytes, stderr);
      this.#ended.abort();
      void this.#channel.close();
      return report;
    });
  }

  /**
   * Starts a process and learns its tools.
   * @throws StartFailed when it does not come up by its own fault, InitializeRefused when it should be asked in the other
   * era, SandboxError when the sandbox cannot be had. Nothing is left running.
   */
  static async start(options: InstanceOptions): Promise<Instance> {
    const process = await options.sandbox.start(options.spec);
    const instance = new Instance(options, process);
    try {
      await instance.#begin();
      return instance;
    } catch (error) {
      instance.#ordered ??= { cause: "stopped", reason: `did not start: ${textOf(error)}` };
      await process.kill();
      throw error;
    }
  }

  /** Its tools by name, as last listed. */
  get tools(): ReadonlyMap<string, Tool> {
    return this.#tools;
  }

  /** How much memory it may use, in bytes. */
  get memoryLimit(): number {
    return this.#options.spec.limits.memoryBytes;
  }

  /** What it uses now. */
  usage(): Promise<SandboxUsage> {
    return this.#process.usage();
  }

  /** Whether it can still be called. */
  get alive(): boolean {
    return !this.#ended.signal.aborted && this.#ordered === undefined;
  }

  /**
   * Calls a tool.
   * @param timeoutMs the call's time; when it is over the caller is told so, and the plugin must come back or is ended.
   * @throws RpcError
   */
  async call(tool: string, args: Record<string, unknown>, timeoutMs: number, signal: AbortSignal): Promise<ToolResult> {
    const { pluginId } = this.#options;
    const session = this.#session;
    if (!session || !this.alive)
      throw new RpcError(StatusCode.UNAVAILABLE, `Plugin ${pluginId} is not running`, { reason: "DRAINING" });
    if (!this.#tools.has(tool))
      throw new RpcError(
        StatusCode.NOT_FOUND,
        `Plugin ${pluginId} has no tool ${tool}: "warren plugin list" shows what there is`,
      );
    const timeUp = AbortSignal.timeout(Math.ceil(timeoutMs));
    const begun = performance.now();
    const answered = this.#watchdog.began(timeoutMs);
    const abort = AbortSignal.any([timeUp, signal]);
    const call = traceCall(this.#options.tracing, pluginId, tool, (traceparent) =>
      session.callTool(tool, args, { signal: abort, ...(traceparent ? { traceparent } : {}) }),
    );
    this.#inFlight.add(call);
    try {
      const { content, structuredContent, isError } = await call;
      answered();
      return { content, structuredContent, isError };
    } catch (error) {
      if (!abort.aborted) {
        answered();
        throw await this.#explain(error);
      }
      if (timeUp.aborted) {
        this.#watchdog.suspect();
        throw new RpcError(
          StatusCode.DEADLINE_EXCEEDED,
          `Plugin ${pluginId}: tool ${tool} did not answer in ${Math.round(timeoutMs)} ms`,
          { reason: "PLUGIN_TIMEOUT" },
        );
      }
      // The caller went away. The plugin has been told; whether it obeys is looked at when the call's time is over.
      this.#watchdog.suspect(Math.max(0, begun + timeoutMs - performance.now()));
      throw new RpcError(StatusCode.CANCELLED, `The call of tool ${tool} of plugin ${pluginId} was cancelled`);
    } finally {
      this.#inFlight.delete(call);
    }
  }

  /** Waits for the calls in flight, closes stdin, and ends what is still there. Give it no new calls before. */
  async stop(drainMs: number): Promise<void> {
    if (this.#inFlight.size) await Promise.race([Promise.allSettled(this.#inFlight), this.exited, elapse(drainMs)]);
    this.#ordered ??= { cause: "stopped", reason: "was stopped" };
    await this.#channel.close();
    await this.#exitWithin(this.#options.figures.stopMs);
    await this.#process.kill();
    await this.exited;
  }

  async #begin(): Promise<void> {
    const { figures, era, log, pluginId } = this.#options;
    const signal = AbortSignal.any([AbortSignal.timeout(figures.startTimeoutMs), this.#ended.signal]);
    try {
      this.#session = await beginSession({
        channel: this.#channel,
        era,
        signal,
        limits: figures.list,
        onToolsChanged: () => void this.#relist(),
        onOddity: (text) => log.add("host", `${pluginId}: ${text}`),
      });
      this.#tools = byName(await this.#session.listTools(signal));
    } catch (error) {
      if (error instanceof InitializeRefused) throw error;
      throw new StartFailed(await this.#startProblem(error), { cause: error });
    }
  }

  async #startProblem(error: unknown): Promise<string> {
    const { startTimeoutMs } = this.#options.figures;
    const report =
      isChannelClosed(error) || this.#ended.signal.aborted || this.#ordered ? await this.#exitWithin(1000) : undefined;
    if (report) return report.reason;
    if (isChannelClosed(error)) return "closed its stdout";
    const answered = protocolError(error);
    if (answered) return `answered the first messages with error ${answered.code}: ${answered.message}`;
    if (error instanceof Error && error.name === "ListRefused") return error.message;
    if (isInvalidResult(error)) return `answered the first messages with what is no MCP: ${textOf(error)}`;
    return `did not begin an MCP session within ${startTimeoutMs} ms`;
  }

  /** A plugin that closes its stdout but stays is of no more use. */
  async #endIfDeaf(): Promise<void> {
    if (!this.#ordered && !(await this.#exitWithin(1000))) this.#end("crash", "closed its stdout and was ended");
  }

  #exitWithin(ms: number): Promise<ExitReport | undefined> {
    return Promise.race([this.exited, elapse(ms)]);
  }

  async #relist(): Promise<void> {
    const session = this.#session;
    if (!session || !this.alive) return;
    try {
      const tools = await session.listTools(
        AbortSignal.any([AbortSignal.timeout(this.#options.figures.startTimeoutMs), this.#ended.signal]),
      );
      this.#tools = byName(tools);
      this.#options.onToolsChanged(tools);
    } catch (error) {
      if (this.alive)
        this.#options.log.add("host", `the changed list of tools was not taken, the last one stays: ${textOf(error)}`);
    }
  }

  async #explain(error: unknown): Promise<RpcError> {
    const { pluginId } = this.#options;
    const answered = protocolError(error);
    if (answered) {
      const status =
        answered.code === -32_602
          ? StatusCode.INVALID_ARGUMENT
          : answered.code === -32_601
            ? StatusCode.UNIMPLEMENTED
            : StatusCode.UNKNOWN;
      return new RpcError(status, `Plugin ${pluginId} answered with error ${answered.code}: ${answered.message}`, {
        reason: "PLUGIN_ERROR",
      });
    }
    if (error instanceof ChannelBusy)
      return new RpcError(StatusCode.RESOURCE_EXHAUSTED, `Plugin ${pluginId} ${error.message}`, {
        reason: "PLUGIN_BUSY",
        retryAfterMs: 1000,
      });
    if (isInvalidResult(error))
      return new RpcError(StatusCode.UNKNOWN, `Plugin ${pluginId} answered with what is no tool result`, {
        reason: "PLUGIN_ERROR",
      });
    const report = await this.#exitWithin(5000);
    return inFlightError(pluginId, report ?? { cause: "crash", reason: "closed its channel" });
  }

  #end(cause: ExitCause, reason: string): void {
    if (this.#ordered) return;
    this.#ordered = { cause, reason };
    void this.#process.kill();
  }
}

function byName(tools: readonly Tool[]): ReadonlyMap<string, Tool> {
  return new Map(tools.map((tool) => [tool.name, tool]));
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function elapse(ms: number): Promise<undefined> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms, undefined).unref();
  });
}
