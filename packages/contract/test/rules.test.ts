import assert from "node:assert/strict";
import test from "node:test";
import { FieldDescriptorProto_Type as Type } from "@bufbuild/protobuf/wkt";
import { violations } from "@warren/contract";
import { ListDevicesRequest, StartPairingRequest } from "@warren/proto/warren/auth/v1/auth";
import { InstallPluginRequest } from "@warren/proto/warren/plugins/v1/plugins";
import { PutSecretRequest } from "@warren/proto/warren/secrets/v1/secrets";
import { violationsOf } from "../src/rules.ts";
import { type FieldSketch, probeMessage } from "./support.ts";

/** What is said of one field with these rules and this value. */
function said(sketch: FieldSketch, value: unknown): string[] {
  return violationsOf(probeMessage({ value: sketch }), { value }).map(
    ({ field, description }) => `${field} ${description}`,
  );
}

test("a required field must hold something", () => {
  const text = { type: Type.STRING, rules: { required: true } };
  for (const empty of [undefined, null, ""]) assert.deepEqual(said(text, empty), ["value is required"]);
  assert.deepEqual(said(text, "a"), []);
  assert.deepEqual(said({ type: Type.UINT32, rules: { required: true } }, 0), ["value is required"]);
  assert.deepEqual(said({ type: Type.UINT64, rules: { required: true } }, 0n), ["value is required"]);
  assert.deepEqual(said({ type: Type.STRING, repeated: true, rules: { required: true } }, []), ["value is required"]);
  assert.deepEqual(said({ type: Type.BOOL, rules: { required: true } }, true), []);
});

test("lengths are bounds of texts and of bytes; an empty value is not too short", () => {
  const text = { type: Type.STRING, rules: { minLength: 2, maxLength: 3 } };
  assert.deepEqual(said(text, "a"), ["value is shorter than 2"]);
  assert.deepEqual(said(text, "abcd"), ["value is longer than 3"]);
  for (const good of ["", "ab", "abc"]) assert.deepEqual(said(text, good), []);
  const bytes = { type: Type.BYTES, rules: { minLength: 2, maxLength: 3 } };
  assert.deepEqual(said(bytes, new Uint8Array(4)), ["value is longer than 3"]);
  assert.deepEqual(said(bytes, new Uint8Array(1)), ["value is shorter than 2"]);
  assert.deepEqual(said(bytes, new Uint8Array(3)), []);
});

test("a pattern is for the whole text, and is never run on more than the length allows", () => {
  const hinted = { type: Type.STRING, rules: { pattern: "[a-z]+|x", patternHint: "small letters" } };
  for (const bad of ["A", "ab\n", "\nab", "a b", "aB"])
    assert.deepEqual(said(hinted, bad), ["value must be small letters"]);
  assert.deepEqual(said(hinted, "ab"), []);
  assert.deepEqual(said({ type: Type.STRING, rules: { pattern: "a+" } }, "b"), ["value must be of the form a+"]);
  // Would take longer than the universe is old.
  const slow = { type: Type.STRING, rules: { pattern: "(a+)+", maxLength: 20 } };
  assert.deepEqual(said(slow, `${"a".repeat(100_000)}!`), ["value is longer than 20"]);
});

test("numbers have bounds, whatever form they have; NaN is within none", () => {
  const bounded = { type: Type.DOUBLE, rules: { minimum: -1.5, maximum: 10 } };
  assert.deepEqual(said(bounded, -2), ["value must be at least -1.5"]);
  assert.deepEqual(said(bounded, 10.1), ["value must be at most 10"]);
  assert.equal(said(bounded, Number.NaN).length, 2);
  for (const good of [-1.5, 0, 10]) assert.deepEqual(said(bounded, good), []);
  const wide = { type: Type.UINT64, rules: { minimum: 1, maximum: 10 } };
  assert.deepEqual(said(wide, 11n), ["value must be at most 10"]);
  assert.deepEqual(said(wide, 0n), ["value must be at least 1"]);
  assert.deepEqual(said(wide, 5n), []);
  const zero = { type: Type.INT32, rules: { minimum: 0, maximum: 0 } };
  assert.deepEqual(said(zero, 1), ["value must be at most 0"]);
  assert.deepEqual(said(zero, -1), ["value must be at least 0"]);
});

test("each entry of a list is checked and named by its index, and their number is bounded", () => {
  const list = { type: Type.STRING, repeated: true, rules: { maxItems: 2, maxLength: 3 } };
  assert.deepEqual(said(list, ["abc", "abcd"]), ["value[1] is longer than 3"]);
  assert.deepEqual(said(list, ["a", "b", "c"]), ["value has more than 2 entries"]);
  assert.deepEqual(said(list, ["a", "b"]), []);
});

test("maps are bounded, and messages in lists and maps are checked under their place", () => {
  const texts = { type: Type.MESSAGE, repeated: true, typeName: ".test.Probe.TextsEntry", rules: { maxItems: 1 } };
  assert.deepEqual(said(texts, { a: "1", b: "2" }), ["value has more than 1 entries"]);
  assert.deepEqual(said(texts, { a: "1" }), []);
  const items = { type: Type.MESSAGE, repeated: true, typeName: ".test.Probe.ItemsEntry" };
  assert.deepEqual(said(items, { a: { text: "x" }, b: { text: "" } }), ["value[b].text is required"]);
  const list = { type: Type.MESSAGE, repeated: true, typeName: ".test.Item" };
  assert.deepEqual(said(list, [{ text: "x" }, { text: "" }]), ["value[1].text is required"]);
});

test("a message that holds itself is checked at every level", () => {
  const tree = {
    child: { type: Type.MESSAGE, typeName: ".test.Probe" },
    name: { type: Type.STRING, rules: { maxLength: 1 } },
  };
  const found = violationsOf(probeMessage(tree), { name: "a", child: { name: "bb", child: { name: "cc" } } });
  assert.deepEqual(
    found.map(({ field }) => field),
    ["child.child.name", "child.name"],
  );
});

test("the chosen field of a oneof is checked in the form of either generator, the others are not", () => {
  const type = "warren.plugins.v1.InstallPluginRequest";
  const mcp = { commandLine: "" };
  const missing = [{ field: "mcp.commandLine", description: "is required" }];
  assert.deepEqual(
    violations(type, InstallPluginRequest.fromPartial({ source: { $case: "mcp", value: mcp } })),
    missing,
  );
  assert.deepEqual(violations(type, { grants: [], source: { case: "mcp", value: mcp } }), missing);
  const digest = "sha256:nope";
  const wrong = [{ field: "packageDigest", description: "must be sha256: and 64 hexadecimal digits" }];
  assert.deepEqual(violations(type, { source: { $case: "packageDigest", value: digest } }), wrong);
  assert.deepEqual(violations(type, { source: { case: "packageDigest", value: digest } }), wrong);
  for (const source of [undefined, { case: undefined }]) assert.deepEqual(violations(type, { source }), []);
});

test("real contracts name every field that is wrong at once, and never its value", () => {
  const request = StartPairingRequest.fromPartial({
    deviceName: "hunter2\u0000",
    publicKey: "",
    scopes: ["chat", "CHAT"],
  });
  const found = violations("warren.auth.v1.StartPairingRequest", request);
  assert.deepEqual(
    found.map(({ field }) => field),
    ["deviceName", "publicKey", "scopes[1]"],
  );
  assert.doesNotMatch(JSON.stringify(found), /hunter2|CHAT/);
  const secret = PutSecretRequest.fromPartial({ name: "a..b", value: "v".repeat(65_537) });
  assert.equal(violations("warren.secrets.v1.PutSecretRequest", secret).length, 2);
  const many = ListDevicesRequest.fromPartial({ pageSize: 1001 });
  assert.deepEqual(violations("warren.auth.v1.ListDevicesRequest", many), [
    { field: "pageSize", description: "must be at most 1000" },
  ]);
});

test("a message that no contract has is an error, not a pass", () => {
  assert.throws(() => violations("warren.Nope", {}), /No contract has the message warren.Nope/);
});
