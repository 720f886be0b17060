// grpc-js over loopback TCP, without TLS: no server in between, the same messages and generated code as Warren's.
import {
  Client,
  credentials,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import { ChatEvent, ChatRequest, ChatResponse } from "@warren/proto/warren/agent/v1/agent";
import { echo, STREAM_TEXT, type Subject } from "./subject.ts";

const SERVICE = "warren.agent.v1.AgentService";

interface Message<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

function serializer<T>(type: Message<T>): (message: T) => Buffer {
  return (message) => {
    const bytes = type.encode(message).finish();
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

const shared = {
  requestStream: false,
  requestSerialize: serializer(ChatRequest),
  requestDeserialize: (bytes: Buffer) => ChatRequest.decode(bytes),
};
const chat = {
  ...shared,
  path: `/${SERVICE}/Chat`,
  responseStream: false,
  responseSerialize: serializer(ChatResponse),
  responseDeserialize: (bytes: Buffer) => ChatResponse.decode(bytes),
} as const;
const streamChat = {
  ...shared,
  path: `/${SERVICE}/StreamChat`,
  responseStream: true,
  responseSerialize: serializer(ChatEvent),
  responseDeserialize: (bytes: Buffer) => ChatEvent.decode(bytes),
} as const;

const onChat: handleUnaryCall<ChatRequest, ChatResponse> = (call, answer) => {
  void echo(call.request.message).then((message) => answer(null, ChatResponse.fromPartial({ message })));
};

/** Writes as fast as the stream's own flow control lets it. */
const onStreamChat: handleServerStreamingCall<ChatRequest, ChatEvent> = (call) => {
  const count = Number(call.request.message);
  let sequence = 0;
  const write = (): void => {
    while (sequence < count) {
      sequence += 1;
      const event = { $case: "text", value: { text: STREAM_TEXT } } as const;
      if (!call.write(ChatEvent.fromPartial({ sequence, event }))) return void call.once("drain", write);
    }
    call.end();
  };
  write();
};

export const grpc: Subject = {
  async serve() {
    const server = new Server();
    const definition: ServiceDefinition = { chat, streamChat };
    server.addService(definition, { chat: onChat, streamChat: onStreamChat });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      );
    });
    return {
      address: `127.0.0.1:${port}`,
      close: () => Promise.resolve(server.forceShutdown()),
    };
  },
  async connect({ address }) {
    if (!address) throw new Error("grpc-js was given no address to connect to");
    const client = new Client(address, credentials.createInsecure());
    return {
      echo: (message) =>
        new Promise((resolve, reject) => {
          client.makeUnaryRequest(
            chat.path,
            chat.requestSerialize,
            chat.responseDeserialize,
            ChatRequest.fromPartial({ message }),
            (error, answer) => (error || !answer ? reject(error ?? new Error("no answer")) : resolve(answer.message)),
          );
        }),
      stream: (count) =>
        new Promise((resolve, reject) => {
          let seen = 0;
          client
            .makeServerStreamRequest(
              streamChat.path,
              streamChat.requestSerialize,
              streamChat.responseDeserialize,
              ChatRequest.fromPartial({ message: `${count}` }),
            )
            .on("data", () => (seen += 1))
            .on("error", reject)
            .on("end", () => resolve(seen));
        }),
      close: () => Promise.resolve(client.close()),
    };
  },
};
