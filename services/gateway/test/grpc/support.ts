// A gRPC client that knows the contract by its descriptors alone.
import type { TestContext } from "node:test";
import {
  Client,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
  status as Code,
  type CallOptions,
} from "@grpc/grpc-js";
import { fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { bytesToJson, methods, type MethodContract } from "@warren/contract";
import { BadRequest, ErrorInfo, RetryInfo } from "@warren/proto/google/rpc/error_details";
import { Status } from "@warren/proto/google/rpc/status";

export interface Answer {
  readonly code: number;
  readonly message: string;
  readonly json: unknown;
  /** Of the head; where there was none, of the trailers. */
  readonly headers: Record<string, string>;
  readonly reason: string | undefined;
  readonly fields: readonly string[];
  readonly retrySeconds: number | undefined;
}

export interface Ask extends CallOptions {
  readonly token?: string | undefined;
  readonly metadata?: Record<string, string | string[]>;
  /** Sent as they are, in place of the request. */
  readonly bytes?: Buffer;
  readonly signal?: AbortSignal;
}

const same = (bytes: Buffer): Buffer => bytes;

export class GrpcTestClient {
  readonly client: Client;

  constructor(t: Pick<TestContext, "after">, address: string) {
    this.client = new Client(address, credentials.createInsecure());
    t.after(() => this.client.close());
  }

  /** Calls a method of the contract: `warren.agent.v1.AgentService/Chat`. */
  call(path: string, request: JsonValue = {}, ask: Ask = {}): Promise<Answer> {
    const method = contractOf(path);
    return this.raw(path, ask.bytes ?? encode(method, request), ask, (bytes) => bytesToJson(method.output, bytes));
  }

  /** Calls any unary method with bytes. */
  raw(path: string, bytes: Buffer, ask: Ask = {}, read: (bytes: Buffer) => unknown = same): Promise<Answer> {
    return new Promise((resolve) => {
      let head: Metadata | undefined;
      const { metadata, options } = parts(ask);
      const call = this.client.makeUnaryRequest(`/${path}`, same, same, bytes, metadata, options, (error, value) =>
        resolve(answerOf(error, value && read(value), head)),
      );
      call.on("metadata", (received) => (head = received));
      ask.signal?.addEventListener("abort", () => call.cancel());
    });
  }

  /** Every message of a streaming method, as JSON, and how it ended. */
  async stream(path: string, request: JsonValue = {}, ask: Ask = {}): Promise<Answer & { messages: unknown[] }> {
    const method = contractOf(path);
    const messages: unknown[] = [];
    const { call, end } = this.open(path, ask.bytes ?? encode(method, request), ask);
    call.on("data", (bytes: Buffer) => messages.push(bytesToJson(method.output, bytes)));
    return { ...(await end), messages };
  }

  /** A stream that the test reads by itself. */
  open(path: string, bytes: Buffer, ask: Ask = {}): { call: ClientReadableStream<Buffer>; end: Promise<Answer> } {
    let head: Metadata | undefined;
    const { metadata, options } = parts(ask);
    const call = this.client.makeServerStreamRequest(`/${path}`, same, same, bytes, metadata, options);
    call.on("metadata", (received) => (head = received));
    ask.signal?.addEventListener("abort", () => call.cancel());
    const end = new Promise<Answer>((resolve) => {
      call.on("error", (error) => resolve(answerOf(error as ServiceError, undefined, head)));
      call.on("end", () => resolve(answerOf(null, undefined, head)));
    });
    return { call, end };
  }
}

export function encode(method: MethodContract, request: JsonValue): Buffer {
  return Buffer.from(toBinary(method.input, fromJson(method.input, request)));
}

export function contractOf(path: string): MethodContract {
  const method = methods.get(path);
  if (!method) throw new Error(`no method ${path}`);
  return method;
}

function parts({ token, metadata: more = {}, ...options }: Ask): { metadata: Metadata; options: CallOptions } {
  const metadata = new Metadata();
  if (token) metadata.set("authorization", `Bearer ${token}`);
  for (const [name, values] of Object.entries(more)) for (const value of [values].flat()) metadata.add(name, value);
  return { metadata, options };
}

function answerOf(error: ServiceError | null, json: unknown, head: Metadata | undefined): Answer {
  const trailers = error?.metadata;
  const bytes = trailers?.get("grpc-status-details-bin")[0];
  const details = bytes === undefined ? [] : Status.decode(bytes as Buffer).details;
  const find = (name: string): Uint8Array | undefined => details.find(({ typeUrl }) => typeUrl.endsWith(name))?.value;
  const info = find("ErrorInfo");
  const bad = find("BadRequest");
  const retry = find("RetryInfo");
  return {
    code: error?.code ?? Code.OK,
    message: error?.details ?? "",
    json,
    headers: Object.fromEntries(
      Object.entries({ ...trailers?.getMap(), ...head?.getMap() }).map(([k, v]) => [k, String(v)]),
    ),
    reason: info && ErrorInfo.decode(info).reason,
    fields: bad ? BadRequest.decode(bad).fieldViolations.map(({ field }) => field) : [],
    retrySeconds: retry && Number(RetryInfo.decode(retry).retryDelay?.seconds ?? 0),
  };
}
