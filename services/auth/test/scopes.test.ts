import assert from "node:assert/strict";
import { it } from "node:test";
import { methods } from "@warren/contract";
import { DEFAULT_SCOPES, KNOWN_SCOPES, requestedScopes } from "../src/scopes.ts";
import { namesField } from "./support/errors.ts";

it("gives a device that asks for nothing what it needs to chat, and no power over others", () => {
  assert.deepEqual(requestedScopes({ scopes: [] }), DEFAULT_SCOPES);
  for (const scope of ["plugins:write", "secrets:read", "secrets:write", "devices:admin"])
    assert.ok(!DEFAULT_SCOPES.includes(scope), scope);
});

it("takes what is asked for once, in one order", () => {
  assert.deepEqual(requestedScopes({ scopes: ["secrets:read", "chat", "secrets:read"] }), ["chat", "secrets:read"]);
});

it("refuses scopes that do not exist, naming each", () => {
  for (const scope of ["*", "admin", "chat:admin", ""])
    assert.throws(() => requestedScopes({ scopes: ["chat", scope] }), namesField("scopes[1]"), scope);
});

it("knows every scope that a contract asks for", () => {
  const asked = new Set([...methods.values()].map((method) => method.scope));
  for (const scope of asked)
    if (scope !== "public" && scope !== "internal") assert.ok(KNOWN_SCOPES.includes(scope), scope);
});
