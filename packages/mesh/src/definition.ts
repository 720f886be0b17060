// The generated definitions of services, as types: what a handler takes and returns, what a client offers.
import type { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { CallContext, CallOptions } from "./call-context.ts";

/** The code that ts-proto generates for a message. */
export interface MessageType<T = never, P = never> {
  readonly $type: string;
  encode(message: T, writer?: BinaryWriter): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
  fromPartial(partial: P): T;
}

/** A method of a generated definition. */
export interface MethodDefinition {
  readonly name: string;
  readonly requestType: unknown;
  readonly responseType: unknown;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

/** A generated definition: `AuthServiceDefinition`. */
export interface ServiceDefinition {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, MethodDefinition>>;
}

type Whole<T> = T extends { decode(...bytes: never[]): infer Message } ? Message : never;
type Partial<T> = T extends { fromPartial(object: infer Message): unknown } ? Message : never;

/** What a handler takes: a message, or as many as the caller sends. */
type Taken<M extends MethodDefinition> = M["requestStream"] extends true
  ? AsyncIterable<Whole<M["requestType"]>>
  : Whole<M["requestType"]>;

/** What a caller gives: a message, or as many as it likes. */
type Given<M extends MethodDefinition> = M["requestStream"] extends true
  ? AsyncIterable<Partial<M["requestType"]>>
  : Partial<M["requestType"]>;

/** What a service implements: one function for each method of its definition. */
export type Handlers<D extends ServiceDefinition> = {
  readonly [K in keyof D["methods"]]: D["methods"][K]["responseStream"] extends true
    ? (request: Taken<D["methods"][K]>, ctx: CallContext) => AsyncIterable<Partial<D["methods"][K]["responseType"]>>
    : (request: Taken<D["methods"][K]>, ctx: CallContext) => Promise<Partial<D["methods"][K]["responseType"]>>;
};

/** What a caller uses: one function for each method of the definition. Options may be a handler's own context. */
export type ServiceClient<D extends ServiceDefinition> = {
  readonly [K in keyof D["methods"]]: (
    request: Given<D["methods"][K]>,
    options?: CallOptions,
  ) => D["methods"][K]["responseStream"] extends true
    ? AsyncIterable<Whole<D["methods"][K]["responseType"]>>
    : Promise<Whole<D["methods"][K]["responseType"]>>;
};
