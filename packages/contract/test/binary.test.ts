import assert from "node:assert/strict";
import test from "node:test";
import { type DescMessage, fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { BytesMismatch, messageFromBytes, messageFromJson, messageToBytes, methods } from "@warren/contract";
import { CallToolRequest } from "@warren/proto/warren/plugins/v1/plugins";
import * as fc from "fast-check";
import { registry } from "../src/registry.ts";

fc.configureGlobal({ seed: 20_261_126 });

function typeOf(name: string): DescMessage {
  const found = registry.getMessage(name);
  assert.ok(found, name);
  return found;
}

const callTool = typeOf("warren.plugins.v1.CallToolRequest");
const chat = typeOf("warren.agent.v1.ChatRequest");

function refusal(type: DescMessage, bytes: Uint8Array): string[] | undefined {
  try {
    messageFromBytes(type, bytes);
  } catch (error) {
    assert.ok(error instanceof BytesMismatch, String(error));
    return error.violations.map(({ field, description }) => `${field} ${description}`);
  }
  return undefined;
}

test("what JSON may say, bytes may say; the rules are the same", () => {
  const request = { pluginId: "clock", tool: "now", arguments: { zone: "UTC", list: [1, null, { deep: true }] } };
  const bytes = toBinary(callTool, fromJson(callTool, request));
  assert.deepEqual(
    messageToBytes(callTool, messageFromBytes(callTool, bytes)),
    messageToBytes(callTool, messageFromJson(callTool, request)),
  );
  for (const json of [{ message: "" }, { sessionId: "a.b", message: "x" }] as JsonValue[])
    assert.ok(refusal(chat, toBinary(chat, fromJson(chat, json)))?.length);
});

test("what JSON could not have said is refused: other numbers, keys that reach for prototypes, endless nesting", () => {
  const of = (args: Record<string, unknown>): Uint8Array =>
    CallToolRequest.encode({ pluginId: "clock", tool: "now", arguments: args }).finish();
  for (const number of [Number.NaN, Infinity, -Infinity])
    assert.match(refusal(callTool, of({ deep: [number] }))?.join() ?? "", /out of range/);
  for (const key of ["__proto__", "constructor", "prototype"]) {
    // Encoders drop such keys: it is written over one as long.
    const stand = "x".repeat(key.length);
    const bytes = Buffer.from(of({ deep: [{ [stand]: 1 }] }));
    bytes.write(key, bytes.indexOf(stand), "latin1");
    assert.match(refusal(callTool, bytes)?.join() ?? "", /not an allowed key/, key);
  }
  let nested: Record<string, unknown> = {};
  for (let i = 0; i < 100; i += 1) nested = { nested };
  assert.deepEqual(refusal(callTool, of(nested)), []);
});

test("fields that the contract does not know are left out; bytes that are no message are refused, never an accident", () => {
  const known = toBinary(chat, fromJson(chat, { message: "hi" }));
  const more = Buffer.concat([known, Buffer.from([0xfa, 0x3f, 3, 1, 2, 3])]);
  assert.deepEqual(messageToBytes(chat, messageFromBytes(chat, more)), known);
  const inputs = [...new Set([...methods.values()].map((method) => method.input))];
  fc.assert(
    fc.property(fc.constantFrom(...inputs), fc.uint8Array({ maxLength: 200 }), (type, bytes) => {
      if (refusal(type, bytes) !== undefined) return;
      const written = messageToBytes(type, messageFromBytes(type, bytes));
      assert.equal(refusal(type, written), undefined);
    }),
    { numRuns: 2_000 },
  );
});
