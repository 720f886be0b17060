// What is known of a request from its first byte: its id, its trace, its span; and what every response says.
import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { context, type Context, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { contextFrom, traceparentOf, withIds } from "./trace.ts";

const tracer = trace.getTracer("@warren/gateway");

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;
const KNOWN_METHODS: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "DELETE",
  "PATCH",
  "OPTIONS",
  "TRACE",
  "CONNECT",
]);

/** What clients must not reach past the gateway with: headers with a meaning inside the mesh, and baggage. */
const INTERNAL_HEADER = /^(?:nats-|warren-|baggage$|tracestate$)/;

/** A response that its client did not wait for (nginx's number; it is never sent). */
export const CLIENT_CLOSED = 499;

const securityHeaders = Object.entries({
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
});

/** One request and its response. */
export interface RequestContext {
  readonly id: string;
  readonly traceparent: string;
  /** The route's template once it is known: `/v1/plugins/{id}`; never the path, which holds ids. */
  route: string | undefined;
  /** From the first byte, on `performance.now()`'s clock. */
  readonly startedAt: number;
}

/** A request that has ended. */
export interface RequestEnd {
  readonly method: string;
  readonly route: string | undefined;
  readonly status: number;
  readonly seconds: number;
  readonly id: string;
}

/** Opens a context for each request, and closes it with its response. */
export class RequestContexts {
  readonly #open = new WeakMap<IncomingMessage, RequestContext>();
  readonly #onEnd: (end: RequestEnd) => void;

  constructor(onEnd: (end: RequestEnd) => void) {
    this.#onEnd = onEnd;
  }

  /** Runs the rest of the server within a new span, with the headers that every response carries already set. */
  run(request: IncomingMessage, response: ServerResponse, next: () => void): void {
    const method = KNOWN_METHODS.has(request.method ?? "") ? (request.method ?? "") : "_OTHER";
    const { span, within } = startSpan(method, request);
    const opened: RequestContext = {
      id: requestId(request.headers),
      traceparent: traceparentOf(span),
      route: undefined,
      startedAt: performance.now(),
    };
    this.#open.set(request, opened);
    for (const name of Object.keys(request.headers)) if (INTERNAL_HEADER.test(name)) delete request.headers[name];
    for (const [name, value] of securityHeaders) response.setHeader(name, value);
    response.setHeader("x-request-id", opened.id);
    response.setHeader("traceparent", opened.traceparent);
    response.once("close", () => {
      // A WebSocket's response is over before it begins.
      const done = response.writableFinished || response.statusCode === 101;
      const status = done ? response.statusCode : CLIENT_CLOSED;
      endSpan(span, method, opened.route, status);
      this.#onEnd({
        method,
        route: opened.route,
        status,
        seconds: (performance.now() - opened.startedAt) / 1000,
        id: opened.id,
      });
    });
    context.with(within, next);
  }

  /** The context of a request that {@link run} has seen. */
  of(request: IncomingMessage): RequestContext {
    const opened = this.#open.get(request);
    if (opened === undefined)
      throw new Error("A request reached the routes without a context: serve it through RequestContexts.run");
    return opened;
  }
}

/** The client's id, if it is one that logs and headers can carry; else a new one. */
export function requestId({ "x-request-id": given }: IncomingHttpHeaders): string {
  return typeof given === "string" && REQUEST_ID.test(given) ? given : randomUUID();
}

function startSpan(method: string, request: IncomingMessage): { span: Span; within: Context } {
  const parent = contextFrom(request.headers["traceparent"]);
  const attributes = {
    "http.request.method": method,
    "url.scheme": "http",
    "network.protocol.version": request.httpVersion,
  };
  const started = tracer.startSpan(
    method === "_OTHER" ? "HTTP" : method,
    { kind: SpanKind.SERVER, attributes },
    parent,
  );
  const span = withIds(started);
  return { span, within: trace.setSpan(parent, span) };
}

/** https://opentelemetry.io/docs/specs/semconv/http/http-spans/; without path, query, address and headers. */
function endSpan(span: Span, method: string, route: string | undefined, status: number): void {
  if (span.isRecording()) {
    span.setAttribute("http.response.status_code", status);
    if (route !== undefined) {
      span.setAttribute("http.route", route);
      span.updateName(`${method === "_OTHER" ? "HTTP" : method} ${route}`);
    }
    if (status >= 500) {
      span.setAttribute("error.type", String(status));
      span.setStatus({ code: SpanStatusCode.ERROR });
    }
  }
  span.end();
}
