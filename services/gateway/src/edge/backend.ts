// What answers the contract's methods behind the edge, and what every protocol of the edge says of a call.
import type { IncomingHttpHeaders } from "node:http";
import type { MethodContract } from "@warren/contract";
import type { CallOptions, Mesh } from "@warren/mesh";
import type { Identity } from "../identity/identity.ts";
import { badRequest } from "./problem.ts";
import type { MeshRequest } from "./transcode.ts";

/** What the edge says of a call; who makes it is for methods that the gateway answers by itself. */
export interface EdgeCallOptions extends CallOptions {
  readonly identity?: Identity | undefined;
}

/** Calls methods with bytes. */
export interface Backend extends Pick<Mesh, "call" | "gather"> {
  stream(
    method: MethodContract,
    request: Uint8Array,
    options: EdgeCallOptions,
    key?: string,
  ): AsyncIterable<Uint8Array>;
}

/** A streaming method that the gateway answers by itself. */
export type LocalStream = (request: Uint8Array, options: EdgeCallOptions) => AsyncIterable<Uint8Array>;

/** The mesh, but for the methods that are answered here, by path. */
export function backendOf(
  mesh: Pick<Mesh, "call" | "stream" | "gather">,
  local: Readonly<Record<string, LocalStream>>,
): Backend {
  return {
    call: (method, request, options, key) => mesh.call(method, request, options, key),
    gather: (method, request, options) => mesh.gather(method, request, options),
    stream: (method, request, options, key) =>
      local[method.path]?.(request, options) ?? mesh.stream(method, request, options, key),
  };
}

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,128}$/;

/** One replica's answer, or those of all of them, which protobuf merges by concatenation. */
export async function ask(
  backend: Backend,
  method: MethodContract,
  { bytes, key }: MeshRequest,
  options: CallOptions,
): Promise<Uint8Array> {
  return method.everyReplica
    ? Buffer.concat(await backend.gather(method, bytes, options))
    : await backend.call(method, bytes, options, key);
}

/** @throws Problem 400 for an `Idempotency-Key` that cannot travel. */
export function idempotencyKeyOf({ "idempotency-key": key }: IncomingHttpHeaders): string | undefined {
  if (key === undefined || (typeof key === "string" && IDEMPOTENCY_KEY.test(key))) return key;
  throw badRequest("INVALID_HEADER", "Idempotency-Key must be 1 to 128 visible ASCII characters", [
    { field: "Idempotency-Key", message: "must be 1 to 128 visible ASCII characters" },
  ]);
}
