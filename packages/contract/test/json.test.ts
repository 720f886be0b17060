import assert from "node:assert/strict";
import test from "node:test";
import { type DescMessage, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { bytesToJson, JsonMismatch, messageFromJson, messageToBytes, methods } from "@warren/contract";
import { ChatEvent, Session } from "@warren/proto/warren/agent/v1/agent";
import { CallToolRequest, InstallPluginRequest, Plugin, ToolResult } from "@warren/proto/warren/plugins/v1/plugins";
import * as fc from "fast-check";
import { registry } from "../src/registry.ts";
import { violationsOf } from "../src/rules.ts";
import { jsonOf, ownMessages } from "./support.ts";

fc.configureGlobal({ seed: 20_260_001 });

function typeOf(name: string): DescMessage {
  const found = registry.getMessage(name);
  assert.ok(found, name);
  return found;
}

const callTool = typeOf("warren.plugins.v1.CallToolRequest");
const install = typeOf("warren.plugins.v1.InstallPluginRequest");
const putSecret = typeOf("warren.secrets.v1.PutSecretRequest");

/** What is said of JSON that is refused: `field description`, one a violation. */
function refusal(type: DescMessage, json: unknown): string[] {
  try {
    messageFromJson(type, json as JsonValue);
  } catch (error) {
    assert.ok(error instanceof JsonMismatch, String(error));
    return error.violations.map(({ field, description }) => `${field} ${description}`);
  }
  return [];
}

/** What handlers see of JSON. */
function bytesOf(type: DescMessage, json: unknown): Uint8Array {
  return messageToBytes(type, messageFromJson(type, json as JsonValue));
}

test("both forms of a field's name are read", () => {
  const expected = CallToolRequest.fromPartial({ pluginId: "clock", tool: "now" });
  assert.deepEqual(CallToolRequest.decode(bytesOf(callTool, { pluginId: "clock", tool: "now" })), expected);
  assert.deepEqual(CallToolRequest.decode(bytesOf(callTool, { plugin_id: "clock", tool: "now" })), expected);
});

test("a field that is given in both forms is refused", () => {
  assert.deepEqual(refusal(callTool, { pluginId: "a", plugin_id: "b", tool: "t" }), [" is not valid for this request"]);
});

test("every unknown field is named, at every level; the name of an extension is no field", () => {
  assert.deepEqual(refusal(callTool, { pluginId: "a", tool: "t", tol: 1, toString: 2 }), [
    "tol is not a field of this request",
    "toString is not a field of this request",
  ]);
  assert.deepEqual(refusal(install, { mcp: { commandLine: "npx", cwd: "/" } }), [
    "mcp.cwd is not a field of this request",
  ]);
  for (const name of ["[warren.options.v1.rpc]", "[nope]", "@type", "__proto__", "constructor", ""])
    assert.equal(
      refusal(callTool, JSON.parse(`{"pluginId":"a","tool":"t",${JSON.stringify(name)}:1}`)).length,
      1,
      name,
    );
});

test("every field of the wrong type is named with the right one, at every level", () => {
  assert.deepEqual(
    refusal(install, { id: 1, replace: "yes", grants: ["a", 2], config: [1], mcp: { commandLine: {} } }),
    [
      "id must be a string",
      "replace must be true or false",
      "grants must be a list, each entry a string",
      "config must be a JSON object",
      "mcp.commandLine must be a string",
    ],
  );
  assert.deepEqual(refusal(install, { grants: "a", mcp: "npx" }), [
    "grants must be a list, each entry a string",
    "mcp must be a JSON object",
  ]);
  for (const number of [1.5, -1, 2 ** 32, "x", true, [1], {}])
    assert.deepEqual(refusal(putSecret, { name: "a", value: "v", ifVersion: number }), [
      "ifVersion must be a whole number in range",
    ]);
  for (const body of [null, [], "text", 1, true]) assert.deepEqual(refusal(callTool, body), [" must be a JSON object"]);
});

test("enums are read by name and by number; an unknown name is answered with those there are", () => {
  const plugin = typeOf("warren.plugins.v1.Plugin");
  assert.equal(Plugin.decode(bytesOf(plugin, { state: "PLUGIN_STATE_RUNNING" })).state, 5);
  assert.equal(Plugin.decode(bytesOf(plugin, { state: 5 })).state, 5);
  assert.match(refusal(plugin, { state: "RUNNING" })[0] ?? "", /^state must be one of PLUGIN_STATE_UNSPECIFIED, /);
});

test("two fields of a oneof are refused; one that is null counts as not given", () => {
  const packageDigest = `sha256:${"a".repeat(64)}`;
  const mcp = { commandLine: "npx -y x" };
  assert.deepEqual(refusal(install, { packageDigest, mcp }), [" sets two fields of which only one may be set"]);
  const read = InstallPluginRequest.decode(bytesOf(install, { packageDigest: null, mcp }));
  assert.deepEqual(read.source, { $case: "mcp", value: mcp });
});

test("field rules are enforced on what was read", () => {
  assert.deepEqual(refusal(callTool, { pluginId: "A", tool: "" }), [
    "pluginId must be lower-case letters, digits and hyphens",
    "tool is required",
  ]);
});

test("what goes out has every field, in lower camel case, with its default", () => {
  const session = typeOf("warren.agent.v1.Session");
  const bytes = Session.encode(Session.fromPartial({ id: "s" })).finish();
  assert.deepEqual(bytesToJson(session, bytes), { id: "s", title: "", messages: [], messageCount: 0 });
  const event = ChatEvent.fromPartial({
    sequence: 1,
    event: { $case: "started", value: { sessionId: "s", turnId: "t" } },
  });
  assert.deepEqual(bytesToJson(typeOf("warren.agent.v1.ChatEvent"), ChatEvent.encode(event).finish()), {
    sequence: 1,
    started: { sessionId: "s", turnId: "t" },
  });
});

test("64-bit numbers are texts, times are RFC 3339, structs are plain JSON", () => {
  const plugin = typeOf("warren.plugins.v1.Plugin");
  const installTime = new Date("2026-01-02T03:04:05.678Z");
  const message = Plugin.fromPartial({ limits: { memoryBytes: 2n ** 63n, cpus: 0.5 }, installTime });
  const json = bytesToJson(plugin, Plugin.encode(message).finish()) as { limits: unknown; installTime: unknown };
  assert.deepEqual(json.limits, {
    memoryBytes: "9223372036854775808",
    cpus: 0.5,
    maxProcesses: 0,
    callTimeoutMs: 0,
    maxOpenFiles: 0,
    tmpBytes: "0",
  });
  assert.equal(json.installTime, "2026-01-02T03:04:05.678Z");
  assert.deepEqual(
    Plugin.decode(bytesOf(plugin, { installTime: "2026-01-02T03:04:05.678Z" })).installTime,
    installTime,
  );
  assert.deepEqual(refusal(plugin, { installTime: "yesterday" }), ["installTime must be a Timestamp"]);
  const content = [{ type: "text", text: "a", n: null, list: [1, "b", { c: false }] }];
  const result = ToolResult.encode(ToolResult.fromPartial({ content })).finish();
  assert.deepEqual(bytesToJson(typeOf("warren.plugins.v1.ToolResult"), result), { content, isError: false });
});

test("hostile JSON", async (t) => {
  const nested = (depth: number, open: string, close: string): unknown =>
    JSON.parse(`{"pluginId":"a","tool":"t","arguments":{"x":${open.repeat(depth)}1${close.repeat(depth)}}}`);
  await t.test("that nests beyond measure is refused, however deep", () => {
    for (const depth of [101, 1000, 20_000, 200_000])
      for (const [open, close] of [
        ['{"a":', "}"],
        ["[", "]"],
      ] as const)
        assert.deepEqual(refusal(callTool, nested(depth, open, close)), ["arguments must be a JSON object"]);
  });
  await t.test("that nests as deep as is read can be written again", () => {
    let deepest = 0;
    for (let depth = 1; depth <= 100; depth++) {
      const json = nested(depth, '{"a":', "}");
      if (refusal(callTool, json).length > 0) continue;
      deepest = depth;
      assert.deepEqual(bytesToJson(callTool, bytesOf(callTool, json)), json);
    }
    assert.ok(deepest >= 40, `only ${deepest} levels were read`);
  });
  await t.test("with the names of an object's own machinery changes nothing but the message", () => {
    const json = JSON.parse(
      '{"pluginId":"a","tool":"t","arguments":{"__proto__":{"polluted":1},"constructor":2}}',
    ) as JsonValue;
    const out = bytesToJson(callTool, bytesOf(callTool, json));
    assert.equal(JSON.stringify(out), JSON.stringify(json));
    assert.equal(({} as { polluted?: number }).polluted, undefined);
  });
  await t.test("with numbers that no double holds is refused, and the place is named", () => {
    const body = (value: string): unknown => JSON.parse(`{"pluginId":"a","tool":"t","arguments":{"x":${value}}}`);
    assert.deepEqual(refusal(callTool, body("1e400")), ["arguments.x is a number out of range"]);
    assert.deepEqual(refusal(callTool, body('[1,{"y":-1e400}]')), ["arguments.x.1.y is a number out of range"]);
    assert.deepEqual(refusal(callTool, body("1e308")), []);
  });
});

test("any message comes back from the wire as it went, and both generators read it alike", async () => {
  const generated = await generatedTypes();
  fc.assert(
    fc.property(
      fc.constantFrom(...ownMessages).chain((type) => fc.tuple(fc.constant(type), jsonOf(type))),
      ([type, json]) => {
        let bytes: Uint8Array;
        try {
          bytes = bytesOf(type, json);
        } catch (error) {
          // Only the field rules may refuse it: its types are right.
          assert.ok(error instanceof JsonMismatch);
          assert.deepEqual(error.violations, violationsOf(type, fromJson(type, json)));
          return;
        }
        const written = bytesToJson(type, bytes);
        assert.deepEqual(bytesToJson(type, bytesOf(type, written)), written);
        const codec = generated.get(type.typeName);
        assert.ok(codec, type.typeName);
        assert.deepEqual(bytesToJson(type, codec.encode(codec.decode(bytes)).finish()), written);
      },
    ),
    { numRuns: 400 },
  );
});

test("any JSON is read, or refused with what is wrong: no other exception", () => {
  const types = [...new Set([...methods.values()].flatMap(({ input, output }) => [input, output]))];
  const hostile = fc.constantFrom("__proto__", "constructor", "", "[x]", "@type", "\u0000", "toString");
  const number = fc.constantFrom(1e308, -0, 2 ** 53, Number.POSITIVE_INFINITY, Number.NaN, -1);
  fc.assert(
    fc.property(
      fc.constantFrom(...types).chain((type) => {
        const names = type.fields.flatMap(({ name, jsonName }) => [name, jsonName]);
        const key = names.length ? fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...names) }, hostile) : hostile;
        const { body } = fc.letrec<{ body: unknown; value: unknown }>((tie) => ({
          value: fc.oneof({ depthSize: "small" }, fc.jsonValue(), number, fc.string({ unit: "binary" }), tie("body")),
          body: fc.dictionary(key, tie("value"), { maxKeys: 6, noNullPrototype: true }),
        }));
        return fc.tuple(fc.constant(type), fc.oneof({ weight: 6, arbitrary: body }, fc.jsonValue()));
      }),
      ([type, json]) => {
        let bytes: Uint8Array;
        try {
          bytes = bytesOf(type, json);
        } catch (error) {
          assert.ok(error instanceof JsonMismatch, String(error));
          assert.ok(error.violations.length > 0);
          for (const { field, description } of error.violations) {
            assert.equal(typeof field, "string");
            assert.ok(description.length > 0);
          }
          return;
        }
        assert.equal(typeof bytesToJson(type, bytes), "object");
      },
    ),
    { numRuns: 1500 },
  );
});

interface GeneratedType {
  readonly $type: string;
  encode(message: unknown): { finish(): Uint8Array };
  decode(bytes: Uint8Array): unknown;
}

/** ts-proto's code for every message of the contracts. */
async function generatedTypes(): Promise<Map<string, GeneratedType>> {
  const files = new Set(ownMessages.map((message) => message.file.name));
  const modules = await Promise.all(
    [...files].map((file) => import(`@warren/proto/${file}`) as Promise<Record<string, unknown>>),
  );
  const types = modules.flatMap((module) => Object.values(module)).filter(isGenerated);
  return new Map(types.map((type) => [type.$type, type]));
}

function isGenerated(value: unknown): value is GeneratedType {
  return typeof value === "object" && value !== null && "$type" in value && "decode" in value;
}
