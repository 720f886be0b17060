// A client whose methods are those of a contract, with its messages in place of bytes.
import type { methodContract, MethodContract } from "@warren/contract";
import type { CallOptions } from "./call-context.ts";
import type { Client } from "./client.ts";
import type { MessageType, ServiceClient, ServiceDefinition } from "./definition.ts";
import type { MessageWriter } from "./message-writer.ts";
import { RpcError, StatusCode } from "./status.ts";
import { mapEach } from "./stream/map-each.ts";
import { only } from "./stream/only.ts";

/** A client of a contract's methods; they throw what {@link Client} throws. */
export function typedClient<D extends ServiceDefinition>(
  client: Client,
  definition: D,
  contractOf: typeof methodContract,
  writer: MessageWriter,
): ServiceClient<D> {
  const methods = Object.entries(definition.methods).map(([property, method]) => {
    const contract = contractOf(definition.fullName, method.name);
    return [property, typedMethod(client, contract, method, writer)];
  });
  return Object.fromEntries(methods) as ServiceClient<D>;
}

function typedMethod(
  client: Client,
  contract: MethodContract,
  types: { requestType: unknown; responseType: unknown },
  writer: MessageWriter,
) {
  const request = types.requestType as MessageType<object, object>;
  const response = types.responseType as MessageType<object, object>;
  const keyOf = (message: object): string | undefined =>
    contract.keyField === undefined ? undefined : (message as Record<string, string>)[contract.keyField];
  const encode = (message: object): Uint8Array => writer.encode(request, message);
  const decode = (answer: Uint8Array): object => decodeAnswer(response, answer, contract);
  if (contract.requestStreaming)
    return (partials: AsyncIterable<object>, options?: CallOptions) => {
      const messages = mapEach(partials, (partial) => encode(request.fromPartial(partial)));
      const answers = client.stream(contract, messages, decode, options);
      return contract.streaming ? answers : only(answers, contract.path);
    };
  if (contract.streaming)
    return (partial: object, options?: CallOptions) => {
      const message = request.fromPartial(partial);
      return client.stream(contract, encode(message), decode, options, keyOf(message));
    };
  return (partial: object, options?: CallOptions) => {
    try {
      const message = request.fromPartial(partial);
      return client.call(contract, encode(message), decode, options, keyOf(message));
    } catch (error) {
      return Promise.reject(error as Error);
    }
  };
}

/** @throws RpcError INTERNAL when the bytes are no message of the contract. */
function decodeAnswer(type: MessageType<object, object>, bytes: Uint8Array, method: MethodContract): object {
  try {
    return type.decode(bytes);
  } catch (cause) {
    throw new RpcError(StatusCode.INTERNAL, `${method.path} answered with what is no ${type.$type}`, {}, { cause });
  }
}
