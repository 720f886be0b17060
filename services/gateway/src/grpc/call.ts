// One gRPC call from its metadata on: its id, its trace, and in which form admission sees it.
import type { IncomingMessage } from "node:http";
import { type Metadata, Metadata as NewMetadata, type ServerInterceptingCallInterface } from "@grpc/grpc-js";
import { type Context, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { Admitted } from "../edge/admission.ts";
import { requestId } from "../edge/request-context.ts";
import { contextFrom, traceparentOf, withIds } from "../edge/trace.ts";

const tracer = trace.getTracer("@warren/gateway");

/** A call that has been let in. */
export interface EnteredCall {
  readonly admitted: Admitted;
  /** The call as a request of HTTP/1.1. */
  readonly request: IncomingMessage;
  /** The trace that what it causes belongs to. */
  readonly within: Context;
  readonly id: string;
}

/** A call that has begun. */
export class GrpcCall {
  readonly id: string;
  readonly within: Context;
  /** The call as a request of HTTP/1.1. */
  readonly request: IncomingMessage;
  /** What the response's metadata says. */
  readonly told: NewMetadata;
  readonly #span: Span;
  readonly #path: string;
  readonly #startedAt = performance.now();

  /** @param path `/warren.agent.v1.AgentService/Chat`. */
  constructor(path: string, metadata: Metadata, call: ServerInterceptingCallInterface) {
    this.#path = path;
    this.request = requestOf(path, metadata, call);
    const { headers } = this.request;
    this.id = requestId(headers);
    const parent = contextFrom(headers["traceparent"]);
    const [, service = "", method = ""] = path.split("/");
    const attributes = { "rpc.system": "grpc", "rpc.service": service, "rpc.method": method };
    this.#span = withIds(tracer.startSpan(path.slice(1), { kind: SpanKind.SERVER, attributes }, parent));
    this.within = trace.setSpan(parent, this.#span);
    this.told = new NewMetadata();
    this.told.set("x-request-id", this.id);
    this.told.set("traceparent", traceparentOf(this.#span));
  }

  /** Ends its span. */
  end(code: number): { path: string; seconds: number } {
    if (this.#span.isRecording()) {
      this.#span.setAttribute("rpc.grpc.status_code", code);
      if (FAULTS.has(code)) this.#span.setStatus({ code: SpanStatusCode.ERROR });
    }
    this.#span.end();
    return { path: this.#path.slice(1), seconds: (performance.now() - this.#startedAt) / 1000 };
  }
}

/** UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS: what a server is to blame for. */
const FAULTS: ReadonlySet<number> = new Set([2, 4, 12, 13, 14, 15]);

function requestOf(path: string, metadata: Metadata, call: ServerInterceptingCallInterface): IncomingMessage {
  const headers: Record<string, string> = { host: call.getHost() };
  const rawHeaders = ["host", call.getHost()];
  for (const [name, values] of Object.entries(metadata.toHttp2Headers())) {
    const texts = [values].flat().map(String);
    // Cookies are for browsers, which speak no gRPC, and are good only where requests are checked for forgery.
    if (name.startsWith(":") || name === "host" || name === "cookie" || texts.length === 0) continue;
    // As HTTP/1.1 would join them: whoever must have one alone can tell.
    headers[name] = texts.join(", ");
    for (const text of texts) rawHeaders.push(name, text);
  }
  const { remoteAddress } = call.getConnectionInfo();
  return { method: "POST", url: path, headers, rawHeaders, socket: { remoteAddress } } as unknown as IncomingMessage;
}
