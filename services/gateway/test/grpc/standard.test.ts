// Reflection and health, asked as tools do: with no knowledge of the contract.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { status as Code } from "@grpc/grpc-js";
import {
  create,
  createFileRegistry,
  type DescService,
  type FileRegistry,
  fromBinary,
  fromJson,
  getOption,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { methods, registry } from "@warren/contract";
import {
  HealthCheckRequest,
  HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Status,
  HealthListResponse,
} from "@warren/proto/grpc/health/v1/health";
import { ServerReflectionRequest, ServerReflectionResponse } from "@warren/proto/grpc/reflection/v1/reflection";
import { ChatEvent } from "@warren/proto/warren/agent/v1/agent";
import { Health } from "@warren/service";
import { parsePolicy } from "../../src/limits/policy.ts";
import { startGateway } from "../support.ts";
import { contractOf, encode, GrpcTestClient } from "./support.ts";

type Question = NonNullable<ServerReflectionRequest["messageRequest"]>;

const same = (bytes: Buffer): Buffer => bytes;

/** Asks several questions on one stream. */
async function reflect(
  { client }: GrpcTestClient,
  questions: readonly Question[],
  version = "v1",
): Promise<ServerReflectionResponse["messageResponse"][]> {
  const path = `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`;
  const call = client.makeBidiStreamRequest(path, same, same);
  const answers: ServerReflectionResponse["messageResponse"][] = [];
  call.on("data", (bytes: Buffer) => answers.push(ServerReflectionResponse.decode(bytes).messageResponse));
  for (const messageRequest of questions)
    call.write(Buffer.from(ServerReflectionRequest.encode({ host: "", messageRequest }).finish()));
  call.end();
  await once(call, "end");
  return answers;
}

/** What a tool such as grpcurl does: files by symbol, then what they import, then a registry of its own. */
async function discover(client: GrpcTestClient, symbol: string, version?: string): Promise<FileRegistry> {
  const files = new Map<string, FileDescriptorProto>();
  const [answer] = await reflect(client, [{ $case: "fileContainingSymbol", value: symbol }], version);
  assert.ok(answer?.$case === "fileDescriptorResponse", `${symbol}: ${JSON.stringify(answer)}`);
  for (const bytes of answer.value.fileDescriptorProto) {
    const file = fromBinary(FileDescriptorProtoSchema, bytes);
    files.set(file.name, file);
  }
  // Each after those that it imports.
  const ordered = new Set<FileDescriptorProto>();
  const add = (file: FileDescriptorProto): void => {
    for (const name of file.dependency) {
      const imported = files.get(name);
      assert.ok(imported, `${file.name} imports ${name}`);
      add(imported);
    }
    ordered.add(file);
  };
  for (const file of files.values()) add(file);
  return createFileRegistry(create(FileDescriptorSetSchema, { file: [...ordered] }));
}

test("a client without the contract finds the services, and calls one", async (t) => {
  const { grpcAddress, operator } = await startGateway(t, {
    handlers: { agent: { listSessions: () => Promise.resolve({ sessions: [], nextPageToken: "next" }) } },
  });
  const client = new GrpcTestClient(t, grpcAddress);
  for (const version of ["v1", "v1alpha"]) {
    const [listed] = await reflect(client, [{ $case: "listServices", value: "*" }], version);
    assert.ok(listed?.$case === "listServicesResponse");
    assert.deepEqual(
      listed.value.service.map(({ name }) => name),
      [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        ...new Set([...methods.values()].filter((method) => method.http).map((method) => method.service)),
      ].sort(),
    );
    for (const { name } of listed.value.service)
      assert.ok((await discover(client, name, version)).getService(name), name);
  }
  const found = await discover(client, "warren.agent.v1.AgentService.ListSessions");
  const method = (found.getService("warren.agent.v1.AgentService") as DescService).method["listSessions"];
  assert.ok(method);
  const request = Buffer.from(toBinary(method.input, fromJson(method.input, { pageSize: 3 })));
  const answer = await client.raw(`${method.parent.typeName}/${method.name}`, request, { token: operator });
  assert.equal(answer.code, Code.OK);
  assert.deepEqual(toJson(method.output, fromBinary(method.output, answer.json as Uint8Array)), {
    nextPageToken: "next",
  });
});

test("descriptors are whole: options, extensions, imports; what is internal or unknown is not there", async (t) => {
  const { grpcAddress } = await startGateway(t);
  const client = new GrpcTestClient(t, grpcAddress);
  const found = await discover(client, "warren.secrets.v1.SecretsService");
  const service = found.getService("warren.secrets.v1.SecretsService");
  assert.deepEqual(
    service?.methods.map(({ name }) => name),
    ["PutSecret", "GetSecret", "ListSecrets", "DeleteSecret"],
    "leases are internal",
  );
  const http = registry.getExtension("google.api.http");
  assert.ok(http && service?.methods[0]);
  assert.partialDeepStrictEqual(getOption(service.methods[0], http), { body: "*", pattern: { case: "put" } });
  const answers = await reflect(client, [
    { $case: "fileByFilename", value: "warren/agent/v1/agent.proto" },
    { $case: "fileByFilename", value: "../../etc/passwd" },
    { $case: "fileContainingSymbol", value: "warren.agent.v1.ChatRequest.message" },
    { $case: "fileContainingSymbol", value: "warren.agent.v1.ChatRequest.nothing" },
    { $case: "fileContainingSymbol", value: "warren.secrets.v1.SecretsService.LeaseSecret" },
    { $case: "fileContainingSymbol", value: "warren.telemetry.v1.TelemetryService.GetHealth" },
    { $case: "fileContainingSymbol", value: "x".repeat(100_000) },
    { $case: "fileContainingSymbol", value: "__proto__" },
    { $case: "fileContainingSymbol", value: "" },
    {
      $case: "fileContainingExtension",
      value: { containingType: "google.protobuf.MethodOptions", extensionNumber: 50_001 },
    },
    {
      $case: "fileContainingExtension",
      value: { containingType: "google.protobuf.MethodOptions", extensionNumber: 5 },
    },
    { $case: "allExtensionNumbersOfType", value: "google.protobuf.MethodOptions" },
    { $case: "allExtensionNumbersOfType", value: "no.such.Type" },
  ]);
  const shown = answers.map((answer) => (answer?.$case === "errorResponse" ? answer.value.errorCode : answer?.$case));
  const [file, numbers] = ["fileDescriptorResponse", "allExtensionNumbersResponse"];
  assert.deepEqual(shown, [file, 5, file, 5, 5, 5, 5, 5, 5, file, 5, numbers, 5]);
  const sent = answers.flatMap((answer) =>
    answer?.$case === "fileDescriptorResponse"
      ? [answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name)]
      : [],
  );
  assert.ok(sent[0]?.includes("google/protobuf/timestamp.proto"));
  assert.deepEqual(sent[1], ["warren/agent/v1/agent.proto"], "what the caller has is not sent again");
});

test("reflection is limited like every other call; questions that make no sense end it", async (t) => {
  const { grpcAddress } = await startGateway(t, {
    policy: parsePolicy({ limits: [{ name: "ip", algorithm: "window", key: "ip", limit: 2, period: 60 }] }),
  });
  const client = new GrpcTestClient(t, grpcAddress);
  const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
  const codes: number[] = [];
  for (let i = 0; i < 3; i += 1) {
    const call = client.client.makeBidiStreamRequest(path, same, same);
    call.resume();
    call.write(Buffer.from([0xff, 0xff, 0xff]));
    const [error] = (await once(call, "error").catch((thrown: unknown) => [thrown])) as [{ code: number }];
    codes.push(error.code);
  }
  assert.deepEqual(codes, [Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT, Code.RESOURCE_EXHAUSTED]);
});

async function check(client: GrpcTestClient, service: string): Promise<number> {
  const bytes = Buffer.from(HealthCheckRequest.encode({ service }).finish());
  const { code, json } = await client.raw("grpc.health.v1.Health/Check", bytes);
  return code === 0 ? HealthCheckResponse.decode(json as Buffer).status : -code;
}

function watch(
  client: GrpcTestClient,
  service: string,
): { seen: number[]; next: () => Promise<number>; end: Promise<unknown> } {
  const bytes = Buffer.from(HealthCheckRequest.encode({ service }).finish());
  const { call, end } = client.open("grpc.health.v1.Health/Watch", bytes);
  const seen: number[] = [];
  let waiting = Promise.withResolvers<number>();
  call.on("data", (data: Buffer) => {
    seen.push(HealthCheckResponse.decode(data).status);
    waiting.resolve(seen.at(-1) ?? -1);
    waiting = Promise.withResolvers();
  });
  return { seen, next: () => waiting.promise, end };
}

test("health is told by service, to anybody, without limits; watchers learn of changes", async (t) => {
  const health = new Health();
  let well = true;
  health.check("thing", () => (well ? Promise.resolve() : Promise.reject(new Error("away"))));
  const { grpcAddress } = await startGateway(t, {
    policy: parsePolicy({ limits: [{ name: "ip", algorithm: "window", key: "ip", limit: 1, period: 60 }] }),
    health,
    grpcHealthEveryMs: 50,
  });
  const client = new GrpcTestClient(t, grpcAddress);
  for (let i = 0; i < 3; i += 1) assert.equal(await check(client, ""), Status.SERVING);
  assert.equal(await check(client, "warren.agent.v1.AgentService"), Status.SERVING);
  assert.equal(await check(client, "no.such.Service"), -Code.NOT_FOUND);
  const { json } = await client.raw("grpc.health.v1.Health/List", Buffer.alloc(0));
  assert.deepEqual(HealthListResponse.decode(json as Buffer).statuses[""], { status: Status.SERVING });
  const unknown = watch(client, "no.such.Service");
  assert.equal(await unknown.next(), Status.SERVICE_UNKNOWN);
  const watched = watch(client, "");
  assert.equal(await watched.next(), Status.SERVING);
  well = false;
  assert.equal(await watched.next(), Status.NOT_SERVING);
  assert.equal(await check(client, ""), Status.NOT_SERVING);
  well = true;
  assert.equal(await watched.next(), Status.SERVING);
});

test("a stop tells watchers, ends calls in order, cuts those that outlast it, and takes no new ones", async (t) => {
  const streaming = Promise.withResolvers<void>();
  const { grpcAddress, operator, gateway } = await startGateway(t, {
    handlers: {
      agent: {
        chat: async () => {
          streaming.resolve();
          await ending.promise;
          return { sessionId: "s", message: "the whole reply", toolCalls: [], usage: undefined };
        },
        async *streamChat(_request, { signal }) {
          yield ChatEvent.create({ sequence: 1 });
          await once(signal, "abort");
        },
      },
    },
  });
  const ending = Promise.withResolvers<void>();
  const client = new GrpcTestClient(t, grpcAddress);
  const watched = watch(client, "");
  assert.equal(await watched.next(), Status.SERVING);
  const slow = client.call("warren.agent.v1.AgentService/Chat", { message: "x" }, { token: operator });
  const STREAM = "warren.agent.v1.AgentService/StreamChat";
  const endless = client.open(STREAM, encode(contractOf(STREAM), { message: "x" }), { token: operator });
  await Promise.all([once(endless.call, "data"), streaming.promise]);
  const stopped = gateway.drain(1_000);
  await watched.end;
  assert.deepEqual(watched.seen, [Status.SERVING, Status.NOT_SERVING]);
  ending.resolve();
  const whole = await slow;
  assert.deepEqual([whole.code, (whole.json as { message: string }).message], [Code.OK, "the whole reply"]);
  const cut = await endless.end;
  assert.deepEqual([cut.code, cut.reason], [Code.UNAVAILABLE, "STOPPING"]);
  await stopped;
  assert.equal(await refused(t, grpcAddress), true);
});

async function refused(t: TestContext, address: string): Promise<boolean> {
  const [host = "", port] = address.split(":");
  const socket = connect(Number(port), host);
  t.after(() => socket.destroy());
  return await new Promise((resolve) => {
    socket.once("error", () => resolve(true));
    socket.once("connect", () => resolve(false));
  });
}
