// The edge of the real mesh by every protocol: a plain curl, gRPC by reflection alone, WebSocket, and requests made from the
// OpenAPI document.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { create, createFileRegistry, fromBinary, fromJson, type JsonValue, toBinary, toJson } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { ServerReflectionRequest, ServerReflectionResponse } from "@warren/proto/grpc/reflection/v1/reflection";
import { startStack, type TestStack } from "@warren/testing";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import * as fc from "fast-check";
import { type ApiRequest, type Operation, operationsOf, requestOf, type Schema } from "./openapi-arbitrary.ts";

/** Requests for each operation; WARREN_OPENAPI_RUNS=1000 for a long run. */
const RUNS = Number(process.env["WARREN_OPENAPI_RUNS"] ?? 5);
fc.configureGlobal({ seed: 20_261_126 });

const run = promisify(execFile);
const same = (bytes: Buffer): Buffer => bytes;

test("the edge of a mesh", async (t) => {
  const stack = await startStack(t);

  await t.test("a plain curl gets a reply, whole and as it comes", async () => {
    const header = join(stack.dataDir, "curl-header");
    writeFileSync(header, `Authorization: Bearer ${stack.token}\n`, { mode: 0o600 });
    const curl = (...args: string[]) =>
      run("curl", ["-sS", "--max-time", "60", "-H", `@${header}`, "-H", "Content-Type: application/json", ...args]);
    const whole = await curl("-d", '{"message":"Hello!"}', `${stack.url}/v1/chat`);
    assert.match((JSON.parse(whole.stdout) as { message: string }).message, /\S/);
    const streamed = await curl(
      "-N",
      "-H",
      "Accept: text/event-stream",
      "-d",
      '{"message":"Hello!"}',
      `${stack.url}/v1/chat`,
    );
    assert.match(streamed.stdout, /^event: started\nid: 1\n[\s\S]*event: completed\n/);
    const packed = await curl("--compressed", "-D", "-", `${stack.url}/openapi.json`);
    assert.match(packed.stdout, /^content-encoding: (?:br|gzip)/im);
    const tag = /^etag: (.*)\r$/im.exec(packed.stdout)?.[1] ?? "";
    const again = await curl(
      "-o",
      "/dev/null",
      "-w",
      "%{http_code}",
      "-H",
      `If-None-Match: ${tag}`,
      `${stack.url}/openapi.json`,
    );
    assert.equal(again.stdout, "304");
  });

  await t.test("gRPC: a client that knows nothing but the address finds the methods and calls them", async (t) => {
    const client = new Client(stack.grpcAddress, credentials.createInsecure());
    t.after(() => client.close());
    const method = await discover(client, "warren.agent.v1.AgentService");
    const chat = method("Chat");
    const say = Buffer.from(toBinary(chat.input, fromJson(chat.input, { message: "Hello!" })));
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${stack.token}`);
    const answer = await new Promise<Buffer>((resolve, reject) =>
      client.makeUnaryRequest(chat.path, same, same, say, metadata, (error, value) =>
        error ? reject(error) : resolve(value as Buffer),
      ),
    );
    assert.match((toJson(chat.output, fromBinary(chat.output, answer)) as { message: string }).message, /\S/);
    const stream = method("StreamChat");
    const call = client.makeServerStreamRequest(stream.path, same, same, say, metadata);
    const events: JsonValue[] = [];
    call.on("data", (bytes: Buffer) => events.push(toJson(stream.output, fromBinary(stream.output, bytes))));
    await once(call, "end");
    assert.ok(events.length > 2 && "completed" in (events.at(-1) as object), JSON.stringify(events.at(-1)));
  });

  await t.test("a WebSocket talks with the agent and hears of it", async () => {
    const { WebSocket } = await import("ws");
    const options = { headers: { authorization: `Bearer ${stack.token}` } };
    const events = new WebSocket(`${stack.url.replace("http", "ws")}/v1/events?pattern=agent.%3E`, options);
    const chat = new WebSocket(`${stack.url.replace("http", "ws")}/v1/chat`, options);
    await Promise.all([once(events, "message"), once(chat, "open")]);
    const heard = once(events, "message");
    const kinds: string[] = [];
    const done = new Promise<void>((resolve) =>
      chat.on("message", (data: Buffer) => {
        const { sequence: _, ...event } = JSON.parse(data.toString()) as Record<string, unknown>;
        kinds.push(...Object.keys(event));
        if (kinds.at(-1) === "completed") resolve();
      }),
    );
    chat.send(JSON.stringify({ message: "Hello!" }));
    await done;
    assert.equal(kinds[0], "started");
    const [news] = (await heard) as [Buffer];
    assert.equal((JSON.parse(news.toString()) as { name: string }).name, "agent.message.sent");
    chat.close();
    events.close();
  });

  await t.test(
    "whatever is asked of any operation of the OpenAPI document: no 5xx, no answer outside its schema",
    async () => {
      const document = (await stack.request("GET", "/openapi.json", { token: null })).json as unknown as Schema;
      const ajv = new Ajv2020({ strict: false, validateFormats: true });
      addFormats.default(ajv);
      for (const name of ["int32", "float", "double"]) ajv.addFormat(name, true);
      ajv.addSchema(document, "api");
      const operations = operationsOf(document);
      assert.ok(operations.length > 25, String(operations.length));
      for (const operation of operations)
        await fc.assert(
          fc.asyncProperty(requestOf(document, operation), (request) => check(stack, ajv, operation, request)),
          { numRuns: RUNS, endOnFailure: true },
        );
    },
  );
});

/** What an answer must be: no fault of ours, and what the document says of its status and type. */
async function check(
  stack: TestStack,
  ajv: Ajv2020,
  { path, verb, spec }: Operation,
  request: ApiRequest,
): Promise<void> {
  const signal = AbortSignal.timeout(isStream(spec) ? 200 : 10_000);
  const { url, body, accept } = request;
  const sent = stack.request(verb.toUpperCase(), url, {
    headers: { accept },
    signal,
    ...(body === undefined ? {} : { body }),
  });
  // A stream that goes on is cut; a call that takes longer is not a fault of its answer.
  const answer = await sent.catch((error: unknown) => {
    if (signal.aborted) return undefined;
    throw error;
  });
  if (answer === undefined) return;
  const about = `${verb} ${url} ${JSON.stringify(body)?.slice(0, 300)} → ${answer.status} ${answer.text.slice(0, 300)}`;
  const responses = spec["responses"] as Schema;
  const documented = String(answer.status) in responses;
  if (!(documented && path.startsWith("/health"))) assert.ok(answer.status < 500, about);
  const key = documented ? String(answer.status) : "default";
  let response = responses[key] as Schema | undefined;
  let pointer = `#/paths/${escape(path)}/${verb}/responses/${key}`;
  assert.ok(response, `${about}: no such response`);
  if (typeof response["$ref"] === "string") {
    pointer = response["$ref"];
    response = pointer
      .slice(2)
      .split("/")
      .reduce<unknown>((at, name) => (at as Schema)[name], stackDocument(ajv)) as Schema;
  }
  const type = (answer.headers.get("content-type") ?? "").split(";")[0] ?? "";
  const content = response["content"] as Record<string, Schema> | undefined;
  if (answer.text === "" && content === undefined) return;
  assert.ok(content && type in content, `${about}: no such type ${type}`);
  if (!type.endsWith("json") || type === "application/x-ndjson") return;
  const schema = { $ref: `api${pointer}/content/${escape(type)}/schema` };
  if (content[type]?.["schema"] === undefined) return;
  assert.ok(ajv.validate(schema, answer.json), `${about}: ${ajv.errorsText()}`);
}

/** Whether an operation answers with streams alone, which have no end to wait for. */
function isStream({ responses }: Schema): boolean {
  const done = (responses as Record<string, Schema>)["200"]?.["content"] as Schema | undefined;
  return done !== undefined && !("application/json" in done) && "text/event-stream" in done;
}

function stackDocument(ajv: Ajv2020): unknown {
  return ajv.getSchema("api")?.schema;
}

/** A key within a JSON pointer within a URI. */
function escape(key: string): string {
  return encodeURIComponent(key.replaceAll("~", "~0").replaceAll("/", "~1"));
}

/** The methods of a service, by reflection. */
async function discover(client: Client, service: string) {
  const call = client.makeBidiStreamRequest("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", same, same);
  const messageRequest = { $case: "fileContainingSymbol", value: service } as const;
  call.write(Buffer.from(ServerReflectionRequest.encode({ host: "", messageRequest }).finish()));
  const [bytes] = (await once(call, "data")) as [Buffer];
  call.end();
  const answer = ServerReflectionResponse.decode(bytes).messageResponse;
  assert.ok(answer?.$case === "fileDescriptorResponse");
  const all = answer.value.fileDescriptorProto.map((file) => fromBinary(FileDescriptorProtoSchema, file));
  const ordered = new Set<FileDescriptorProto>();
  const add = (file: FileDescriptorProto): void => {
    for (const each of all) if (file.dependency.includes(each.name)) add(each);
    ordered.add(file);
  };
  for (const file of all) add(file);
  const found = createFileRegistry(create(FileDescriptorSetSchema, { file: [...ordered] })).getService(service);
  assert.ok(found);
  return (name: string) => {
    const method = found.methods.find((each) => each.name === name);
    assert.ok(method, name);
    return { path: `/${service}/${name}`, input: method.input, output: method.output };
  };
}
