// What the contract's tests share: descriptors made up for a test, and arbitrary JSON for any message.
import {
  create,
  createFileRegistry,
  type DescField,
  type DescMessage,
  type DescMethod,
  type FileRegistry,
  ScalarType,
  setExtension,
  type JsonObject,
  type JsonValue,
} from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  FileDescriptorProtoSchema,
  MethodDescriptorProtoSchema,
  MethodOptionsSchema,
} from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { extension, registry } from "../src/registry.ts";

/** A field of a made-up message. */
export interface FieldSketch {
  readonly type: Type;
  readonly repeated?: boolean;
  readonly typeName?: string;
  readonly rules?: JsonObject;
}

const rulesOption = extension("warren.options.v1.field");
const rpcOption = extension("warren.options.v1.rpc");

function field([name, { type, repeated, typeName, rules }]: [string, FieldSketch], index: number) {
  const options = create(FieldOptionsSchema);
  if (rules && rulesOption.message)
    setExtension(options, rulesOption, create(rulesOption.message, rules as Record<string, unknown>));
  return create(FieldDescriptorProtoSchema, {
    name,
    jsonName: name,
    number: index + 1,
    type,
    label: repeated ? Label.REPEATED : Label.OPTIONAL,
    ...(typeName ? { typeName } : {}),
    options,
  });
}

/** The descriptors of a file `test.Probe` with the fields given, `test.Item` (a text that is required) and a map entry. */
export function probeRegistry(fields: Readonly<Record<string, FieldSketch>>): FileRegistry {
  const item = { text: { type: Type.STRING, rules: { required: true } } };
  const entry = (name: string, value: FieldSketch) => ({
    name,
    options: { mapEntry: true },
    field: Object.entries<FieldSketch>({ key: { type: Type.STRING }, value }).map(field),
  });
  const file = create(FileDescriptorProtoSchema, {
    name: "test/probe.proto",
    package: "test",
    syntax: "proto3",
    messageType: [
      { name: "Item", field: Object.entries(item).map(field) },
      {
        name: "Probe",
        field: Object.entries(fields).map(field),
        nestedType: [
          entry("TextsEntry", { type: Type.STRING }),
          entry("ItemsEntry", { type: Type.MESSAGE, typeName: ".test.Item" }),
        ],
      },
    ],
  });
  return createFileRegistry(file, () => undefined);
}

/** The same as the one message it is about. */
export function probeMessage(fields: Readonly<Record<string, FieldSketch>>): DescMessage {
  const message = probeRegistry(fields).getMessage("test.Probe");
  if (!message) throw new Error("the probe was not built");
  return message;
}

const PLUGIN_ID = [[1, "plugin_id", { type: Type.STRING }]] as const;

/** A method `test.ProbeService/Ask` with these options; without them, one that has none. Its message has these fields. */
export function probeMethod(
  rpc?: JsonObject,
  streams: { client?: boolean; server?: boolean } = {},
  fields: readonly (readonly [number: number, name: string, sketch: FieldSketch])[] = PLUGIN_ID,
): DescMethod {
  const options = create(MethodOptionsSchema);
  if (rpc && rpcOption.message)
    setExtension(options, rpcOption, create(rpcOption.message, rpc as Record<string, unknown>));
  const method = create(MethodDescriptorProtoSchema, {
    name: "Ask",
    inputType: ".test.Question",
    outputType: ".test.Question",
    clientStreaming: streams.client ?? false,
    serverStreaming: streams.server ?? false,
    options,
  });
  const file = create(FileDescriptorProtoSchema, {
    name: "test/service.proto",
    package: "test",
    syntax: "proto3",
    messageType: [{ name: "Question", field: fields.map(([number, ...each]) => field(each, number - 1)) }],
    service: [{ name: "ProbeService", method: [method] }],
  });
  const found = createFileRegistry(file, () => undefined).getService("test.ProbeService")?.methods[0];
  if (!found) throw new Error("the probe was not built");
  return found;
}

/** Every message of Warren's own contracts that is read from JSON: what holds an `Any` is only written. */
export const ownMessages: readonly DescMessage[] = [...registry]
  .filter((each) => each.kind === "message")
  .filter((message) => message.typeName.startsWith("warren."))
  .filter((message) => message.fields.every((each) => each.message?.typeName !== "google.protobuf.Any"));

const scalars: Readonly<Record<number, fc.Arbitrary<JsonValue>>> = {
  // Plus 0: -0 is 0, which is not written.
  [ScalarType.DOUBLE]: fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0),
  [ScalarType.BOOL]: fc.boolean(),
  [ScalarType.STRING]: fc.string({ unit: "binary" }),
  [ScalarType.INT32]: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }),
  [ScalarType.UINT32]: fc.nat({ max: 0xffff_ffff }),
  [ScalarType.UINT64]: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String),
  [ScalarType.BYTES]: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString("base64")),
};

const struct: fc.Arbitrary<JsonValue> = fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue({ maxDepth: 3 }), {
  noNullPrototype: true,
}) as fc.Arbitrary<JsonValue>;
/** From 1970: before it, ts-proto writes fractions of a second with the wrong sign. */
const timestamp = fc
  .date({ min: new Date(0), max: new Date("9999-12-31T23:59:59.999Z"), noInvalidDate: true })
  .map((date) => date.toISOString());

/** JSON that is a message of this type, before its field rules. */
export function jsonOf(type: DescMessage, depth = 0): fc.Arbitrary<JsonObject> {
  if (type.typeName === "google.protobuf.Struct") return struct as fc.Arbitrary<JsonObject>;
  const members = type.members.map((member) => {
    if (member.kind !== "oneof") return entry(member, depth);
    return fc.oneof(fc.constant([]), ...member.fields.map((each) => entry(each, depth)));
  });
  return fc.tuple(...members).map((entries) => Object.fromEntries(entries.flat()) as JsonObject);
}

function entry(of: DescField, depth: number): fc.Arbitrary<[string, JsonValue][]> {
  const name = fc.constantFrom(of.jsonName, of.name);
  const some = fc.tuple(name, valueOf(of, depth)).map((pair): [string, JsonValue][] => [pair]);
  return fc.option(some, { nil: [] });
}

function valueOf(of: DescField, depth: number): fc.Arbitrary<JsonValue> {
  const one = singleOf(of, depth);
  return of.fieldKind === "list" ? fc.array(one, { maxLength: depth > 1 ? 0 : 3 }) : one;
}

function singleOf(of: DescField, depth: number): fc.Arbitrary<JsonValue> {
  if (of.enum) return fc.constantFrom(...of.enum.values.map((value) => value.name));
  if (of.message?.typeName === "google.protobuf.Timestamp") return timestamp;
  if (of.message) return jsonOf(of.message, depth + 1);
  const found = of.scalar === undefined ? undefined : scalars[of.scalar];
  if (!found) throw new Error(`no arbitrary for ${of.toString()}: add one`);
  return found;
}
