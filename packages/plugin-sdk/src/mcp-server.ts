import type { PluginDefinition, ToolContext, ToolDefinition } from "./definition.ts";
import type { Lifecycle } from "./lifecycle.ts";
import { isId, isObject, parseMessage, readLines, type RpcId, rpcCode, writeLine } from "./lines.ts";
import type { PluginIo } from "./process-io.ts";
import { callTool } from "./tool-call.ts";

const maxLineBytes = 8 * 1024 * 1024;
const latestVersion = "2025-11-25";
/** How long calls in flight may go on once the input has ended: enough for `printf … | plugin`, too short to hold up a stop. */
const drainMs = 1000;
/** How long they may take to clean up once they are cancelled. */
const cleanUpMs = 250;
/** Earlier versions differ in nothing that is used here. */
const knownVersions = new Set([latestVersion, "2025-06-18", "2025-03-26", "2024-11-05"]);

class RpcError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * MCP over stdio (https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio): `initialize`, `ping`,
 * `tools/list`, `tools/call` and cancellation. Whatever arrives is answered or ignored; nothing of it ends the process.
 *
 * @returns a promise that resolves when the input has ended and no call is in flight. Calls that take longer are cancelled.
 */
export function serveMcp(definition: PluginDefinition, lifecycle: Lifecycle, io: PluginIo): Promise<void> {
  const inFlight = new Map<RpcId, AbortController>();
  const running = new Set<Promise<void>>();

  function send(message: object): void {
    writeLine(io.output, JSON.stringify({ jsonrpc: "2.0", ...message }), io.input);
  }

  function sendError(id: RpcId | null, code: number, message: string): void {
    send({ id, error: { code, message } });
  }

  function receive(line: string): void {
    const { message, isJson } = parseMessage(line);
    if (!isJson) return sendError(null, rpcCode.parseError, "the line is not JSON");
    if (message === undefined) return sendError(null, rpcCode.invalidRequest, "the line is not a JSON-RPC 2.0 message");
    const { id, method } = message;
    if (typeof method !== "string") {
      const isAnswer = "result" in message || "error" in message;
      if (!isAnswer) sendError(isId(id) ? id : null, rpcCode.invalidRequest, "method must be a string");
      return;
    }
    const params = message["params"] ?? {};
    if (!("id" in message)) return notified(method, params);
    if (!isId(id)) return sendError(null, rpcCode.invalidRequest, "id must be a string or a whole number");
    // Answered with null: an answer with the id would be taken for that of the first request.
    if (inFlight.has(id)) return sendError(null, rpcCode.invalidRequest, `id ${JSON.stringify(id)} is still in use`);
    if (!isObject(params)) return sendError(id, rpcCode.invalidParams, "params must be an object");
    const answering = answer(id, method, params).finally(() => running.delete(answering));
    running.add(answering);
  }

  function notified(method: string, params: unknown): void {
    if (method !== "notifications/cancelled" || !isObject(params)) return;
    const { requestId, reason } = params;
    if (isId(requestId)) inFlight.get(requestId)?.abort(new Error(typeof reason === "string" ? reason : "cancelled"));
  }

  async function answer(id: RpcId, method: string, params: Record<string, unknown>): Promise<void> {
    const controller = new AbortController();
    inFlight.set(id, controller);
    let reply: object;
    try {
      reply = { id, result: await handle(id, method, params, controller.signal) };
    } catch (error) {
      const code = error instanceof RpcError ? error.code : rpcCode.internalError;
      reply = { id, error: { code, message: error instanceof Error ? error.message : String(error) } };
    }
    inFlight.delete(id);
    // Who cancelled expects no answer.
    if (!controller.signal.aborted) send(reply);
  }

  async function handle(
    id: RpcId,
    method: string,
    params: Record<string, unknown>,
    signal: AbortSignal,
  ): Promise<object> {
    switch (method) {
      case "initialize":
        await lifecycle.start();
        return initializeResult(definition, params);
      case "ping":
        return {};
      case "tools/list":
        return { tools: Object.entries(definition.tools).map(([name, tool]) => listed(name, tool)) };
      case "tools/call":
        await lifecycle.start();
        return call(id, params, signal);
      default:
        throw new RpcError(rpcCode.methodNotFound, `there is no method ${JSON.stringify(method.slice(0, 100))}`);
    }
  }

  function call(id: RpcId, params: Record<string, unknown>, signal: AbortSignal): Promise<object> {
    const { name, arguments: args = {}, _meta: meta } = params;
    const tool = typeof name === "string" && Object.hasOwn(definition.tools, name) ? definition.tools[name] : undefined;
    if (typeof name !== "string" || tool === undefined) {
      throw new RpcError(rpcCode.invalidParams, `there is no tool ${JSON.stringify(name)?.slice(0, 150)}`);
    }
    if (!isObject(args)) throw new RpcError(rpcCode.invalidParams, "arguments must be an object");
    const contextFor = (traceparent: string | undefined): ToolContext => ({
      signal,
      log: (...parts) => lifecycle.log(...parts),
      host: lifecycle.hostFor({ id, traceparent, signal }),
      traceparent,
    });
    return callTool({ name, tool, args, traceparent: isObject(meta) ? meta["traceparent"] : undefined, contextFor });
  }

  async function drain(): Promise<void> {
    await settledWithin(drainMs, running);
    for (const controller of inFlight.values()) controller.abort(new Error("the plugin stops"));
    await settledWithin(cleanUpMs, running);
  }

  return new Promise((resolve) => {
    readLines(io.input, maxLineBytes, {
      onLine: receive,
      onTooLong: () => sendError(null, rpcCode.invalidRequest, `the line is longer than ${maxLineBytes} bytes`),
      onEnd: () => void drain().then(resolve),
    });
  });
}

async function settledWithin(ms: number, promises: Iterable<Promise<void>>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([Promise.allSettled(promises), late]);
  clearTimeout(timer);
}

function listed(name: string, tool: ToolDefinition): object {
  const { title, description, inputSchema, outputSchema, annotations } = tool;
  return { name, title, description, inputSchema, outputSchema, annotations };
}

function initializeResult(definition: PluginDefinition, params: Record<string, unknown>): object {
  const { protocolVersion } = params;
  if (typeof protocolVersion !== "string") {
    throw new RpcError(rpcCode.invalidParams, "protocolVersion must be a string");
  }
  const { name = "warren-plugin", version = "0.0.0", instructions } = definition;
  return {
    protocolVersion: knownVersions.has(protocolVersion) ? protocolVersion : latestVersion,
    capabilities: { tools: {} },
    serverInfo: { name, version },
    ...(instructions !== undefined && { instructions }),
  };
}
