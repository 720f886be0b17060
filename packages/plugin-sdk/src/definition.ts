import type { JsonSchema } from "./arguments.ts";

/** A secret on loan. */
export interface SecretLease {
  readonly name: string;
  readonly value: string;
  readonly version: number;
  /** ISO 8601; null where the host sets no end. Ask again after it. */
  readonly expireTime: string | null;
}

/** How serious a line of the log is. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** What the host does for a plugin, as far as permissions were granted. */
export interface Host {
  readonly secrets: {
    /**
     * Leases a secret. Needs the permission `secrets:lease:<name>`.
     *
     * @throws HostError `PERMISSION_DENIED`, `NOT_FOUND`, or `UNAVAILABLE` without a channel to the host.
     */
    lease(name: string): Promise<SecretLease>;
  };
  /** Writes to the plugin's log with a level. Without a channel to the host the line goes to stderr. */
  log(message: string, level?: LogLevel): void;
}

/** What a tool is run with, besides its arguments. */
export interface ToolContext {
  /** Fires when the caller gave up, or the plugin must stop. */
  readonly signal: AbortSignal;
  /** Writes to the plugin's log (stderr). */
  readonly log: (...parts: unknown[]) => void;
  readonly host: Host;
  /** W3C Trace Context of this call, for whatever the tool calls itself. */
  readonly traceparent: string | undefined;
}

/** An MCP content block, such as `{ type: "text", text: "…" }`. */
export interface ContentBlock {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A string is text; an object becomes structured content and, as JSON, text; blocks are sent as they are. */
export type ToolOutput = string | number | boolean | null | undefined | object | readonly ContentBlock[];

/** A tool. */
export interface ToolDefinition {
  readonly title?: string;
  /** What it is good for and when to use it: a model chooses by this. */
  readonly description: string;
  /** JSON Schema of the arguments, an object. They are checked before `run` sees them. */
  readonly inputSchema: JsonSchema;
  readonly outputSchema?: JsonSchema;
  /** MCP tool annotations, such as `{ readOnlyHint: true }`. */
  readonly annotations?: Readonly<Record<string, unknown>>;
  /**
   * Does the work. What it throws reaches the caller as a tool error with the error's message, so that a model can mend
   * its arguments and try again. Name the type of `args` freely, in line with `inputSchema`.
   */
  run(args: Record<string, unknown>, context: ToolContext): ToolOutput | Promise<ToolOutput>;
}

/** What `start` is given. */
export interface PluginContext {
  /** The operator's configuration; empty until the host sends one. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly log: (...parts: unknown[]) => void;
  readonly host: Host;
}

/** How a plugin is. */
export interface Health {
  readonly status: "healthy" | "degraded" | "unhealthy";
  readonly message?: string;
}

/** A plugin. */
export interface PluginDefinition {
  /** Shown to MCP clients; the mesh goes by plugin.json. */
  readonly name?: string;
  readonly version?: string;
  /** How a model should use the tools together. */
  readonly instructions?: string;
  readonly tools: Readonly<Record<string, ToolDefinition>>;
  /** Runs once, before the first call. Throwing fails the start. */
  start?(context: PluginContext): void | Promise<void>;
  /** Runs once, before the process ends. */
  stop?(): void | Promise<void>;
  health?(): Health | Promise<Health>;
  /** State for a successor, as JSON; `restoreState` gets it there. */
  saveState?(): unknown;
  restoreState?(state: unknown): void | Promise<void>;
  /** A new configuration. Throwing rejects it, and the old one stays. */
  configChanged?(config: Readonly<Record<string, unknown>>): void | Promise<void>;
}

/**
 * Checks what types cannot say.
 *
 * @throws TypeError naming the tool.
 */
export function checkDefinition({ tools }: PluginDefinition): void {
  for (const [name, tool] of Object.entries(tools)) {
    if (!/^[A-Za-z0-9_.-]{1,128}$/.test(name)) {
      throw new TypeError(`tool ${JSON.stringify(name)}: a name is 1 to 128 letters, digits and _ . -`);
    }
    if (tool.description.trim() === "") throw new TypeError(`tool ${name}: it needs a description to be chosen by`);
    if (tool.inputSchema["type"] !== "object") throw new TypeError(`tool ${name}: inputSchema must have type "object"`);
  }
}
