// The requests of a client on their way out, and what comes back in place of an answer.
import type { Msg } from "@nats-io/transport-node";
import type { MethodContract } from "@warren/contract";
import type { Span } from "@opentelemetry/api";
import type { PlannedCall } from "./attempts.ts";
import type { CallerSigner } from "./caller.ts";
import type { Connection } from "./connection.ts";
import type { KnownContracts } from "./contracts.ts";
import { remainingMs } from "./deadline.ts";
import { CallerLines, ERROR_CODE_HEADER, packCall, RPC_HEADER, STREAM_HEADER, TRACE_HEADER } from "./headers.ts";
import { type Inbox, isNoResponders } from "./inbox.ts";
import { CallError, decodeStatus, type RpcError, StatusCode } from "./status.ts";
import type { Target } from "./targets.ts";
import { traceparentOf } from "./telemetry.ts";
import type { TimerWheel } from "./timer-wheel.ts";
import type { UnaryCallHost } from "./unary-call.ts";
import { HEADER_BLOCK_BYTES, hasHeaders, headerBlock, headerIn, Wire } from "./wire.ts";

/** A call with what it sends. */
export interface OutgoingRequest<T = unknown> extends PlannedCall {
  readonly target: Target;
  /** Of a method that streams its requests: what goes with the call, before any of them. */
  readonly request: Uint8Array;
  readonly requests?: AsyncIterable<Uint8Array> | undefined;
  /** When it was made, in monotonic milliseconds. */
  readonly started: number;
  readonly span: Span;
  /** Reads the answer to a unary call. What it throws fails the call. */
  readonly decode: (answer: Uint8Array) => T;
}

export interface RequestDependencies {
  readonly connection: Connection;
  readonly inbox: Inbox;
  readonly wheel: TimerWheel;
  readonly signer: CallerSigner;
}

/** Sends requests, each with its headers. */
export class Requests implements UnaryCallHost {
  readonly inbox: Inbox;
  readonly wheel: TimerWheel;
  readonly connection: Connection;
  readonly #wire: Wire;
  readonly #signer: CallerSigner;
  readonly #contracts: KnownContracts;
  readonly #callers = new CallerLines();

  constructor({ connection, inbox, wheel, signer }: RequestDependencies, contracts: KnownContracts) {
    this.connection = connection;
    this.inbox = inbox;
    this.wheel = wheel;
    this.#wire = new Wire(connection.nats);
    this.#signer = signer;
    this.#contracts = contracts;
  }

  /** Sends the request of an attempt. @throws RpcError when it cannot go: disconnected, late, too large. */
  send(call: OutgoingRequest, subject: string, attempt: number, replyTo: string, window?: string): void {
    const { method, deadline, request, span, options } = call;
    this.connection.assertUp();
    const left = remainingMs(deadline);
    if (left <= 0) throw this.expired(method);
    const { idempotencyKey, assertion } = options;
    const contracts = this.#contracts.of(method);
    let text = `${RPC_HEADER}: ${packCall({ remainingMs: left, attempt, idempotencyKey, contracts })}\r\n`;
    const traceparent = traceparentOf(span);
    if (traceparent) text += `${TRACE_HEADER}: ${traceparent}\r\n`;
    if (window) text += `${STREAM_HEADER}: ${window}\r\n`;
    const lines = { text, bytes: this.#callers.of(assertion ?? this.#signer.self()) };
    assertFits(request.length + text.length + lines.bytes.length + HEADER_BLOCK_BYTES, this.connection, method);
    this.#wire.send(subject, replyTo, request, lines);
  }

  tellReplicas(subject: string, route: string): void {
    // The route is the call's name. A replica that has it may answer there.
    if (this.connection.up) this.connection.nats.publish(subject, route, { reply: route });
  }

  errorOf(message: Msg, method: MethodContract): RpcError | undefined {
    if (isNoResponders(message))
      return new CallError(StatusCode.UNAVAILABLE, `No replica of ${method.service} answers now`, {
        reason: "NO_RESPONDERS",
        retryAfterMs: 1000,
      });
    const failed = hasHeaders(message) && headerIn(headerBlock(message), ERROR_CODE_HEADER) !== undefined;
    return failed ? decodeStatus(message.data) : undefined;
  }

  expired(method: MethodContract, silent = false): RpcError {
    const details = silent ? { reason: "NO_ANSWER" } : {};
    return new CallError(StatusCode.DEADLINE_EXCEEDED, `${method.path} did not answer within its deadline`, details);
  }

  cancelled(method: MethodContract, signal: AbortSignal | undefined): RpcError {
    const text = `${method.path} was cancelled by its caller`;
    return new CallError(StatusCode.CANCELLED, text, {}, { cause: signal?.reason });
  }
}

/** All of a request counts: NATS' limit is for payload and headers together. */
function assertFits(size: number, { maxPayload }: Connection, method: MethodContract): void {
  if (size <= maxPayload) return;
  throw new CallError(
    StatusCode.RESOURCE_EXHAUSTED,
    `A request of ${size} bytes to ${method.path} is over the mesh's limit of ${maxPayload}`,
    { reason: "TOO_LARGE" },
  );
}
