// What Node's HTTP parser and Fastify refuse by themselves, as problems like any other.
import { randomUUID } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { badRequest, Problem, PROBLEM_TYPE } from "./problem.ts";
import { newTraceparent } from "./trace.ts";

/** The problem that an error of Fastify stands for; undefined for one that is not Fastify's. */
export function fromFastify(error: unknown): Problem | undefined {
  const { code } = error as { code?: unknown };
  switch (code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return bodyTooLarge("1 MiB");
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
      return new Problem(415, {
        code: "UNSUPPORTED_MEDIA_TYPE",
        detail: "The route does not read bodies of this content type: send application/json",
        headers: { accept: "application/json" },
      });
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return badRequest("INVALID_CONTENT_LENGTH", "The body is not as long as Content-Length says");
    case "FST_ERR_BAD_URL":
      return badRequest("INVALID_URL", "The path has a malformed percent-encoding");
    case "FST_ERR_MAX_PARAM_LENGTH":
      return new Problem(414, { code: "URI_TOO_LONG", detail: "A part of the path is too long" });
    case "ECONNRESET":
    case "ERR_STREAM_PREMATURE_CLOSE":
      return new Problem(499, { code: "CLIENT_CLOSED", detail: "The client closed the request" });
    default:
      return undefined;
  }
}

export function bodyTooLarge(limit: string): Problem {
  return new Problem(413, {
    code: "BODY_TOO_LARGE",
    detail: `The body is over ${limit}`,
    headers: { connection: "close" },
  });
}

/** What the parser makes of bytes that are no request it takes. */
function fromParser(code: string | undefined): Problem {
  if (code === "HPE_HEADER_OVERFLOW")
    return new Problem(431, { code: "HEADERS_TOO_LARGE", detail: "The header fields are over 16 KiB" });
  if (code === "ERR_HTTP_REQUEST_TIMEOUT")
    return new Problem(408, { code: "REQUEST_TIMEOUT", detail: "The request did not arrive in time" });
  return badRequest("INVALID_REQUEST", "The bytes are no HTTP/1.1 request");
}

/** Answers on a connection whose bytes did not make a request, and closes it. */
export function onClientError(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const problem = fromParser(error.code);
  const id = randomUUID();
  const body = JSON.stringify(problem.toJSON(id));
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ""}`,
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
    "cache-control: no-store",
    "x-content-type-options: nosniff",
    `x-request-id: ${id}`,
    `traceparent: ${newTraceparent()}`,
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}
