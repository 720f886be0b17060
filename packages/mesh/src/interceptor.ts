// Interceptors: plain functions around a call, on either side, for what every call needs and no handler should repeat.
import type { MethodContract } from "@warren/contract";
import type { CallContext, CallOptions } from "./call-context.ts";

/** A call that this process makes. */
export interface OutgoingCall {
  readonly method: MethodContract;
  readonly options: CallOptions;
}

/** A call that this process serves; its request is decoded and has met its field rules. */
export interface IncomingCall {
  readonly method: MethodContract;
  readonly request: object;
  readonly ctx: CallContext;
}

/**
 * A function around a call. It may look, wait, measure, or throw an RpcError in place of the call; `next` makes the call and
 * settles with its outcome: of a stream, when it is open (on the client) or has ended (on the server).
 */
export type Interceptor<Call> = <Outcome>(call: Call, next: () => Promise<Outcome>) => Promise<Outcome>;

/** Interceptors as one; the first is the outermost. Undefined when there is none, so that a call pays nothing. */
export function compose<Call>(interceptors: readonly Interceptor<Call>[]): Interceptor<Call> | undefined {
  if (interceptors.length === 0) return undefined;
  return (call, next) =>
    interceptors.reduceRight((inner: typeof next, interceptor) => () => interceptor(call, inner), next)();
}
