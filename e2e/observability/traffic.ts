// Something of everything that a mesh counts.
import assert from "node:assert/strict";
import { Client, credentials } from "@grpc/grpc-js";
import type { TestStack } from "@warren/testing";

const asItIs = (bytes: Buffer): Buffer => bytes;

/** Chats with a tool, keeps and reads a secret, asks for what is not there, speaks gRPC and as OpenAI's clients do. */
export async function useEverything(stack: TestStack): Promise<void> {
  const chat = { message: "What time is it?" };
  const completion = { model: "warren", messages: [{ role: "user", content: "Hello!" }] };
  for (const [method, path, body, expected] of [
    ["POST", "/v1/chat", chat, 200],
    ["POST", "/v1/chat/completions", completion, 200],
    ["PUT", "/v1/secrets/kept", { value: "kept" }, 200],
    ["GET", "/v1/secrets/kept", undefined, 200],
    ["GET", "/v1/secrets/none", undefined, 404],
    ["GET", "/v1/devices", undefined, 200],
  ] as const) {
    const { status, text } = await stack.request(method, path, { body });
    assert.equal(status, expected, `${method} ${path}: ${text}`);
  }
  await callGrpc(stack.grpcAddress, "/grpc.health.v1.Health/Check");
}

/** Calls a method whose request may be empty. */
function callGrpc(address: string, method: string): Promise<void> {
  const client = new Client(address, credentials.createInsecure());
  return new Promise<void>((resolve, reject) => {
    client.makeUnaryRequest(method, asItIs, asItIs, Buffer.alloc(0), (error) => (error ? reject(error) : resolve()));
  }).finally(() => client.close());
}
