import assert from "node:assert/strict";
import test from "node:test";
import { RpcError, StatusCode } from "@warren/mesh";
import * as fc from "fast-check";
import { isInbox } from "../src/inbox.ts";
import { decodeToken, encodeToken, eventSubject, isSafeToken, keyToken } from "../src/subject.ts";

fc.configureGlobal({ seed: 20_260_102 });

/** Texts that attackers and NATS care about, beside random ones. */
const text = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 60 }),
  fc.string({
    unit: fc.constantFrom(".", "*", ">", "=", " ", "\r", "\n", "\t", "a", "_", "-", "\u0000"),
    maxLength: 12,
  }),
);

/** Whether NATS takes a text as one token, and nothing in it means anything to NATS. */
function isOneToken(token: string): boolean {
  return token.length > 0 && !/[\s.*>]/.test(token) && !token.includes("\u0000");
}

test("any text becomes one token that means nothing to NATS, and comes back", () => {
  fc.assert(
    fc.property(text, (value) => {
      assert.ok(isOneToken(encodeToken(value)), JSON.stringify(encodeToken(value)));
      assert.equal(decodeToken(encodeToken(value)), value);
    }),
    { numRuns: 2000 },
  );
});

test("two texts never share a token", () => {
  fc.assert(
    fc.property(text, text, (one, other) => (one === other) === (encodeToken(one) === encodeToken(other))),
    { numRuns: 2000 },
  );
  // A text that looks like an encoded one is encoded itself.
  const encoded = encodeToken("a.b");
  assert.notEqual(encodeToken(encoded), encoded);
  assert.equal(decodeToken(encodeToken(encoded)), encoded);
});

test("the key of a method is a safe token as it is, or refused with the field's name", () => {
  fc.assert(
    fc.property(text, (value) => {
      if (isSafeToken(value)) return assert.equal(keyToken(value, "plugin_id"), value);
      assert.throws(
        () => keyToken(value, "plugin_id"),
        (error: RpcError) => {
          assert.equal(error.code, StatusCode.INVALID_ARGUMENT);
          assert.equal(error.details.violations?.[0]?.field, "plugin_id");
          return true;
        },
      );
    }),
  );
  for (const bad of ["", "a.b", "*", ">", "_cancel.x", "a".repeat(129), "a\n"])
    assert.throws(() => keyToken(bad), RpcError);
  assert.equal(keyToken("a".repeat(128)).length, 128);
});

test("an event's subject has its key as the last token, whatever the key", () => {
  fc.assert(
    fc.property(text, (key) => {
      const tokens = eventSubject("plugin.state.changed", key).split(".");
      assert.deepEqual(tokens.slice(0, 4), ["events", "plugin", "state", "changed"]);
      assert.equal(tokens.length, 5);
      assert.equal(decodeToken(tokens[4] ?? ""), key);
    }),
  );
  assert.equal(eventSubject("plugin.removed"), "events.plugin.removed");
});

test("only inboxes are answered to", () => {
  for (const good of ["_INBOX.gateway.abc", "_INBOX.plugin-host.a-_9.0"]) assert.ok(isInbox(good), good);
  const bad = [
    "_INBOX.>",
    "_INBOX.gateway.*",
    "_INBOX.gateway.",
    "_INBOX.gateway",
    "_INBOX",
    "events.x",
    "",
    "x_INBOX.a.b",
  ];
  for (const subject of [...bad, "_INBOX.a b.c", "_INBOX.a.b\r\nPUB x 0", "mesh.a._INBOX.b.c"])
    assert.ok(!isInbox(subject), subject);
  assert.ok(!isInbox(undefined));
  fc.assert(
    fc.property(text, (value) => {
      const subject = `_INBOX.gateway.${value}`;
      if (isInbox(subject)) assert.ok(subject.split(".").every(isOneToken));
    }),
  );
});
