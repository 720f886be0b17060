// One MCP session with a plugin, by the official client, reduced to what a host needs and bounded in what it returns.
import { Client, type JSONRPCRequest, ProtocolError, SdkError, SdkErrorCode } from "@modelcontextprotocol/client";
import type { Tool } from "@warren/proto/warren/plugins/v1/plugins";
import type { StdioChannel } from "./channel.ts";
import { printable } from "./lines.ts";

/** How much a plugin may list. */
export interface ListLimits {
  readonly maxTools: number;
  readonly maxPages: number;
  /** Bytes of all tools as JSON: the list travels as one entry of the mesh's state, which holds 1 MiB. */
  readonly maxBytes: number;
}

export const defaultListLimits: ListLimits = { maxTools: 512, maxPages: 32, maxBytes: 512 * 1024 };

/** The revisions there are to begin a session with: by `initialize` (2024 to 2025), or without it (2026-07-28). */
export type Era = "initialize" | "stateless";

const STATELESS_REVISION = "2026-07-28";
/** Answers by which a server says that it does not know `initialize`: method not found, unsupported version. */
const INITIALIZE_REFUSED = new Set([-32_601, -32_022]);
/** Our own clocks decide; the client's own time-out never does. */
const NEVER_MS = 2_147_483_647;

/** What a tool answered, as MCP has it. */
export interface CallResult {
  readonly content: Record<string, unknown>[];
  readonly structuredContent: Record<string, unknown> | undefined;
  readonly isError: boolean;
  readonly meta: Record<string, unknown>;
}

/** The server has no `initialize`: another process, asked in the other era, may do. */
export class InitializeRefused extends Error {
  override readonly name = "InitializeRefused";
}

/** What the plugin lists is not acceptable. */
export class ListRefused extends Error {
  override readonly name = "ListRefused";
}

/** A session that was begun. */
export interface McpSession {
  /** Name and version as the server gives them. */
  readonly server: string;
  /** @throws ListRefused when the list is over its bounds or names a tool twice. */
  listTools(signal: AbortSignal): Promise<Tool[]>;
  /** Calls a tool. Aborting sends `notifications/cancelled` and rejects at once. */
  callTool(
    name: string,
    args: Record<string, unknown>,
    options: { signal: AbortSignal; traceparent?: string },
  ): Promise<CallResult>;
  /** Resolves when the server answers anything at all. */
  ping(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** What a session is begun with. */
export interface SessionOptions {
  readonly channel: StdioChannel;
  readonly era: Era;
  readonly signal: AbortSignal;
  readonly limits: ListLimits;
  /** The server says that its tools changed. At most ten times a second. */
  readonly onToolsChanged: () => void;
  /** Anything odd, for the plugin's log. */
  readonly onOddity: (text: string) => void;
}

/**
 * Begins a session. The client declares no capabilities: no sampling, no elicitation, no roots.
 * @throws InitializeRefused when the server knows no `initialize`.
 */
export async function beginSession(options: SessionOptions): Promise<McpSession> {
  const { channel, era, signal } = options;
  const client = new Client(
    { name: "warren", version: "1" },
    {
      ...(era === "stateless" ? { versionNegotiation: { mode: { pin: STATELESS_REVISION } } } : {}),
      inputRequired: { autoFulfill: false },
      listChanged: { tools: { autoRefresh: false, debounceMs: 100, onChanged: options.onToolsChanged } },
    },
  );
  Object.assign(client, { onerror: (error: Error) => options.onOddity(printable(error.message, 300)) });
  const requestOptions = { timeout: NEVER_MS, signal };
  try {
    await client.connect(channel, requestOptions);
  } catch (error) {
    if (era === "initialize" && error instanceof ProtocolError && INITIALIZE_REFUSED.has(error.code))
      throw new InitializeRefused("The server knows no initialize", { cause: error });
    throw error;
  }
  const version = client.getServerVersion();
  return {
    server: version ? printable(`${version.name} ${version.version}`, 128) : "unnamed",
    listTools: (abort) => listTools(client, options.limits, abort),
    async callTool(name, args, { signal: abort, traceparent }) {
      const params = { name, arguments: args, ...(traceparent ? { _meta: { traceparent } } : {}) };
      // Not client.callTool(): that compiles the plugin's output schemas, patterns and all, in this process.
      const result = await client.request({ method: "tools/call", params }, { timeout: NEVER_MS, signal: abort });
      return toCallResult(result);
    },
    async ping(abort) {
      const request = { timeout: NEVER_MS, signal: abort };
      await (era === "initialize" ? client.ping(request) : client.discover(request)).catch((error: unknown) => {
        if (!(error instanceof ProtocolError)) throw error;
      });
    },
    close: () => client.close(),
  };
}

/** Whether an error means that the channel to the plugin is gone. */
export function isChannelClosed(error: unknown): boolean {
  return (
    error instanceof SdkError &&
    (error.code === SdkErrorCode.ConnectionClosed || error.code === SdkErrorCode.NotConnected)
  );
}

/** The JSON-RPC error that a plugin answered with, if it is one. */
export function protocolError(error: unknown): { code: number; message: string } | undefined {
  return error instanceof ProtocolError ? { code: error.code, message: printable(error.message, 1024) } : undefined;
}

/** Whether the plugin answered something that is not what was asked for. */
export function isInvalidResult(error: unknown): boolean {
  return (
    error instanceof SdkError &&
    (error.code === SdkErrorCode.InvalidResult || error.code === SdkErrorCode.UnsupportedResultType)
  );
}

async function listTools(client: Client, limits: ListLimits, signal: AbortSignal): Promise<Tool[]> {
  if (!client.getServerCapabilities()?.tools) return [];
  const tools = new Map<string, Tool>();
  let bytes = 0;
  let cursor: string | undefined;
  for (let page = 1; ; page++) {
    const params: NonNullable<JSONRPCRequest["params"]> = cursor === undefined ? {} : { cursor };
    const listed = await client.request({ method: "tools/list", params }, { timeout: NEVER_MS, signal });
    for (const each of listed.tools) {
      const name = printable(each.name, 160);
      // The mesh names a tool in a path: other names could be listed but never called.
      if (!/^[A-Za-z0-9_.-]{1,128}$/.test(each.name))
        throw new ListRefused(`lists a tool with a name that cannot be called: ${name}`);
      if (tools.has(each.name)) throw new ListRefused(`lists the tool ${name} twice`);
      if (tools.size === limits.maxTools) throw new ListRefused(`lists more than ${limits.maxTools} tools`);
      bytes += Buffer.byteLength(JSON.stringify(each));
      if (bytes > limits.maxBytes) throw new ListRefused(`lists tools of more than ${limits.maxBytes} bytes`);
      tools.set(each.name, {
        name: each.name,
        title: printable(each.title ?? each.annotations?.title ?? "", 256),
        description: each.description ?? "",
        inputSchema: each.inputSchema,
        outputSchema: each.outputSchema,
      });
    }
    cursor = listed.nextCursor;
    if (cursor === undefined) return [...tools.values()];
    if (page === limits.maxPages) throw new ListRefused(`lists tools on more than ${limits.maxPages} pages`);
  }
}

function toCallResult(result: Record<string, unknown>): CallResult {
  const { content, structuredContent, isError, _meta } = result;
  return {
    content: Array.isArray(content) ? content.filter(isObject) : [],
    structuredContent: isObject(structuredContent) ? structuredContent : undefined,
    isError: isError === true,
    meta: isObject(_meta) ? _meta : {},
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
