import assert from "node:assert/strict";
import test from "node:test";
import { incompatibilities, methods, type MethodShape } from "@warren/contract";
import { FieldDescriptorProto_Type as Type } from "@bufbuild/protobuf/wkt";
import { hashOf, shapeOf } from "../src/shape.ts";
import { type FieldSketch, probeMethod } from "./support.ts";

type Fields = Readonly<Record<string, FieldSketch>>;

const REQUIRED = { required: true };
const NAMES: Readonly<Record<string, number>> = { a: 1, b: 2, c: 3, d: 4 };

/** A method whose request and answer have these fields; `a` has the number 1, and so on. */
function shape(fields: Fields, more: { client?: boolean; server?: boolean; every?: boolean } = {}): MethodShape {
  const rpc = { scope: "chat", ...(more.every ? { everyReplica: true } : {}) };
  const sketched = Object.entries(fields).map(([name, field]) => [NAMES[name] ?? 0, name, field] as const);
  return shapeOf(probeMethod(rpc, more, sketched));
}

const text: FieldSketch = { type: Type.STRING };
const both = (one: MethodShape, other: MethodShape) => [
  incompatibilities(one, other).length,
  incompatibilities(other, one).length,
];

test("what both sides know the same is compatible, by its hash alone", () => {
  assert.equal(hashOf(shape({ a: text, b: text })), hashOf(shape({ b: text, a: text })));
  assert.notEqual(hashOf(shape({ a: text })), hashOf(shape({ a: text, b: text })));
  for (const { shape: own, hash, path } of methods.values()) {
    assert.deepEqual(incompatibilities(own, own), [], path);
    assert.match(hash, /^[A-Za-z0-9_-]{8}$/);
  }
});

test("versions that run side by side in a rolling update are compatible, whichever calls", () => {
  const pairs: [Fields, Fields][] = [
    [{ a: text }, { a: text, b: text }],
    [{ a: text, b: { type: Type.INT32 } }, { a: text }],
    [{ a: { type: Type.INT32 } }, { a: { type: Type.INT64 } }],
    [{ a: { type: Type.BOOL } }, { a: { type: Type.UINT64 } }],
    [{ a: { type: Type.FIXED32 } }, { a: { type: Type.SFIXED32 } }],
  ];
  for (const [one, other] of pairs)
    assert.deepEqual(both(shape(one), shape(other)), [0, 0], JSON.stringify([one, other]));
});

test("what one side would read as something else is not", () => {
  const pairs: [Fields, Fields][] = [
    [{ a: text }, { a: { type: Type.INT32 } }],
    [{ a: { type: Type.INT32 } }, { a: { type: Type.SINT32 } }],
    [{ a: { type: Type.INT32 } }, { a: { type: Type.FIXED32 } }],
    [{ a: { type: Type.DOUBLE } }, { a: { type: Type.FLOAT } }],
  ];
  for (const [one, other] of pairs)
    assert.deepEqual(both(shape(one), shape(other)), [2, 2], JSON.stringify([one, other]));
  const [first] = incompatibilities(shape({ a: text }), shape({ a: { type: Type.INT32 } }));
  assert.equal(first, "request test.Question.a is string as it is sent, int32 as it is read");
});

test("a list that one side takes for one value is refused in the direction in which it would lose values", () => {
  const [one, many] = [shape({ a: text }), shape({ a: { ...text, repeated: true } })];
  assert.deepEqual(incompatibilities(one, many), [
    "answer test.Question.a is a list as it is sent, one value as it is read",
  ]);
  assert.deepEqual(incompatibilities(many, one), [
    "request test.Question.a is a list as it is sent, one value as it is read",
  ]);
});

test("a field that the service requires and the caller does not know is named", () => {
  const [old, young] = [shape({ a: text }), shape({ a: text, b: { ...text, rules: REQUIRED } })];
  assert.deepEqual(incompatibilities(old, young), [
    "request test.Question.b is required, and the caller does not know it",
  ]);
  assert.deepEqual(incompatibilities(young, old), []);
});

test("streams and gathered answers are part of the contract", () => {
  const plain = shape({ a: text });
  for (const other of [{ client: true }, { server: true }, { every: true }])
    assert.deepEqual(both(plain, shape({ a: text }, other)), [1, 1], JSON.stringify(other));
});

test("a caller that would make a call again which is not idempotent at the service is refused", () => {
  const once = shape({ a: text });
  const again = { ...once, idempotent: true };
  assert.deepEqual(both(again, once), [1, 0]);
});

test("messages within messages are compared, and one that holds itself too", () => {
  const nested = (type: string): MethodShape => {
    const field = (name: string, of: string) => ({ number: 1, name, type: of, list: false, required: false });
    const messages = {
      Top: [field("inner", ".Inner"), { ...field("map", "map<string,.Inner>"), number: 2 }],
      Inner: [field("value", type), { ...field("self", ".Inner"), number: 2 }],
    };
    return { ...shape({}), input: "Top", output: "Top", messages };
  };
  assert.deepEqual(incompatibilities(nested("string"), nested("string")), []);
  assert.deepEqual(incompatibilities(nested("string"), nested("bool")), [
    "request Inner.value is string as it is sent, bool as it is read",
    "answer Inner.value is bool as it is sent, string as it is read",
  ]);
});
