// A version of the agent's contract that streams in every way: no product contract has streams of requests yet, and the
// mesh's permissions know the services of the product alone.
import { create, createFileRegistry, setExtension } from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  MethodDescriptorProtoSchema,
  MethodOptions_IdempotencyLevel,
  MethodOptionsSchema,
} from "@bufbuild/protobuf/wkt";
import { describeMethod, type MethodContract, methodContract, registry } from "@warren/contract";
import { type Handlers, RpcError, StatusCode } from "@warren/mesh";
import { ChatEvent, ChatRequest, ChatResponse } from "@warren/proto/warren/agent/v1/agent";

/** As ts-proto would write it. */
export const StreamingDefinition = {
  fullName: "warren.agent.v1.AgentService",
  methods: {
    /** Many requests, one answer. */
    collect: {
      name: "Collect",
      requestType: ChatRequest,
      requestStream: true,
      responseType: ChatResponse,
      responseStream: false,
    },
    /** Many requests, many answers. */
    relay: {
      name: "Relay",
      requestType: ChatEvent,
      requestStream: true,
      responseType: ChatEvent,
      responseStream: true,
    },
    /** One request, many answers. */
    count: {
      name: "Count",
      requestType: ChatRequest,
      requestStream: false,
      responseType: ChatEvent,
      responseStream: true,
    },
  },
} as const;

export type StreamingHandlers = Handlers<typeof StreamingDefinition>;

/** Handlers for what a test does not serve itself. */
export const noStreams: StreamingHandlers = {
  collect: () => Promise.reject(new RpcError(StatusCode.UNIMPLEMENTED, "not given by this test")),
  async *relay() {
    // Ends at once.
  },
  async *count() {
    // Ends at once.
  },
};

const rpc = registry.getExtension("warren.options.v1.rpc");

function contracts(): MethodContract[] {
  const options = create(MethodOptionsSchema, { idempotencyLevel: MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS });
  if (!rpc?.message) throw new Error("the contracts have no rpc option");
  setExtension(options, rpc, create(rpc.message, { scope: "chat", timeoutMs: 60_000 } as Record<string, unknown>));
  const method = Object.values(StreamingDefinition.methods).map((each) =>
    create(MethodDescriptorProtoSchema, {
      name: each.name,
      inputType: `.${each.requestType.$type}`,
      outputType: `.${each.responseType.$type}`,
      clientStreaming: each.requestStream,
      serverStreaming: each.responseStream,
      options,
    }),
  );
  const file = create(FileDescriptorProtoSchema, {
    name: "test/streaming.proto",
    package: "warren.agent.v1",
    syntax: "proto3",
    dependency: ["warren/agent/v1/agent.proto"],
    service: [{ name: "AgentService", method }],
  });
  const made = createFileRegistry(file, (path) => registry.getFile(path)).getFile(file.name);
  return made?.services[0]?.methods.map(describeMethod) ?? [];
}

const found = contracts();

/** Looks methods up in this contract, then in those of the product. */
export function streamingContract(service: string, name: string): MethodContract {
  return found.find((each) => each.service === service && each.name === name) ?? methodContract(service, name);
}
