// Every public method of the contract as a gRPC method: bytes in, checked, one call over the mesh, bytes out.
import { once } from "node:events";
import type {
  handleServerStreamingCall,
  handleUnaryCall,
  MethodDefinition,
  ServerUnaryCall,
  ServerWritableStream,
  StatusObject,
  UntypedHandleCall,
} from "@grpc/grpc-js";
import { context } from "@opentelemetry/api";
import { bytesToJson, messageFromBytes, messageToBytes, type MethodContract } from "@warren/contract";
import type { Admission } from "../edge/admission.ts";
import { ask, type Backend, type EdgeCallOptions, idempotencyKeyOf } from "../edge/backend.ts";
import type { MeshRequest } from "../edge/transcode.ts";
import { countTokens } from "../edge/usage.ts";
import type { Assertions } from "../identity/assertions.ts";
import type { EnteredCall } from "./call.ts";

export interface ContractDependencies {
  readonly backend: Backend;
  readonly assertions: Assertions;
  readonly admission: Pick<Admission, "counts" | "used">;
  readonly entered: (call: Call) => EnteredCall;
  readonly statusOf: (thrown: unknown, requestId: string) => StatusObject;
  /** Fires when the gateway stops and will wait no longer. */
  readonly stopping: AbortSignal;
}

type Call = ServerUnaryCall<Buffer, Buffer> | ServerWritableStream<Buffer, Buffer>;

/** A method as grpc-js serves it. */
export interface ServedMethod {
  readonly definition: MethodDefinition<Buffer, Buffer>;
  readonly handler: UntypedHandleCall;
}

/** Messages stay bytes here: what they are is the contract's business. */
export function bytesMethod(
  path: string,
  { responseStream = false, requestStream = false } = {},
): MethodDefinition<Buffer, Buffer> {
  const same = (bytes: Buffer): Buffer => bytes;
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

/** A method of the contract. */
export function contractMethod(method: MethodContract, deps: ContractDependencies): ServedMethod {
  const definition = bytesMethod(`/${method.path}`, { responseStream: method.streaming });
  return { definition, handler: method.streaming ? streaming(method, deps) : unary(method, deps) };
}

function unary(method: MethodContract, deps: ContractDependencies): handleUnaryCall<Buffer, Buffer> {
  return (call, callback) => {
    const entered = deps.entered(call);
    void context.with(entered.within, async () => {
      try {
        const options = { ...optionsOf(call, entered, deps), signal: signalOf(call, deps) };
        const answer = await ask(deps.backend, method, requestOf(method, call), options);
        countTokens(deps.admission, { raw: entered.request }, () => bytesToJson(method.output, answer));
        callback(null, bufferOf(answer));
      } catch (thrown) {
        callback(deps.statusOf(thrown, entered.id));
      }
    });
  };
}

function streaming(method: MethodContract, deps: ContractDependencies): handleServerStreamingCall<Buffer, Buffer> {
  return (call) => {
    const entered = deps.entered(call);
    // What is written after the caller has gone is nobody's failure.
    call.on("error", () => undefined);
    void context.with(entered.within, async () => {
      try {
        const { bytes, key } = requestOf(method, call);
        const signal = signalOf(call, deps);
        const options = { ...optionsOf(call, entered, deps), signal };
        for await (const message of deps.backend.stream(method, bytes, options, key)) {
          if (call.cancelled) return;
          countTokens(deps.admission, { raw: entered.request }, () => bytesToJson(method.output, message));
          // No faster than the caller reads.
          if (!call.write(bufferOf(message))) await once(call, "drain", { signal });
        }
        call.end();
      } catch (thrown) {
        // Nobody is left to be told.
        if (!call.cancelled) call.emit("error", deps.statusOf(thrown, entered.id));
      }
    });
  };
}

function requestOf(method: MethodContract, { request }: Call): MeshRequest {
  const message = messageFromBytes(method.input, request);
  const key =
    method.keyField === undefined ? undefined : (message as unknown as Record<string, string>)[method.keyField];
  return { bytes: messageToBytes(method.input, message), key };
}

function optionsOf(call: Call, { admitted, request }: EnteredCall, deps: ContractDependencies): EdgeCallOptions {
  const left = Number(call.getDeadline()) - Date.now();
  return {
    // The earlier of the caller's and the contract's.
    deadline: Number.isFinite(left) ? performance.now() + left : undefined,
    identity: admitted.identity,
    assertion: deps.assertions.of(admitted.identity, admitted.address),
    idempotencyKey: idempotencyKeyOf(request.headers),
  };
}

/** Fires when the caller has gone, or the gateway waits no longer. */
function signalOf(call: Call, { stopping }: ContractDependencies): AbortSignal {
  const gone = new AbortController();
  const stop = (): void => gone.abort();
  stopping.addEventListener("abort", stop);
  // Also said of every call that has ended in order.
  call.once("cancelled", () => {
    stopping.removeEventListener("abort", stop);
    gone.abort();
  });
  return gone.signal;
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
