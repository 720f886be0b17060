// Between Node's requests and the web's, which the MCP server package speaks.
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import type { FastifyReply, FastifyRequest } from "fastify";

/** The headers that the protocol reads. Tokens and cookies are none of its business. */
const READ = ["accept", "content-type", "mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id"];

/** A request without its body, which has been read. */
export function webRequest({ raw }: FastifyRequest, signal: AbortSignal): Request {
  const headers = new Headers();
  for (const name of READ) {
    const value = raw.headers[name];
    if (typeof value === "string") headers.set(name, value);
  }
  return new Request("http://gateway.invalid/mcp", { method: "POST", headers, signal });
}

/** Sends a response; a stream piece by piece, no faster than the client reads. */
export async function sendWeb(reply: FastifyReply, response: Response): Promise<FastifyReply> {
  const type = response.headers.get("content-type");
  if (response.body === null || !type?.startsWith("text/event-stream")) {
    if (type !== null) void reply.type(type);
    return reply.code(response.status).send(await response.text());
  }
  void reply.hijack();
  const headers = { ...reply.getHeaders(), "content-type": type, "x-accel-buffering": "no" };
  reply.raw.writeHead(response.status, headers as Record<string, string>);
  reply.raw.flushHeaders();
  // A client that leaves ends the stream, which ends the call behind it.
  await pipeline(Readable.fromWeb(response.body as ReadableStream<Uint8Array>), reply.raw).catch(() => undefined);
  return reply;
}
