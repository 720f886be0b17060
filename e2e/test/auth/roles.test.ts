// Every method of every contract, asked for by every role: who may, and who may not.
import assert from "node:assert/strict";
import { test } from "node:test";
import { methods, roles } from "@warren/contract";
import { RpcError, StatusCode } from "@warren/mesh";
import { send, startWorld } from "./world.ts";

/** Which roles hold a scope, beside the operator, who holds all. A scope that is not here is the administrators' alone. */
const holders: Readonly<Record<string, readonly string[]>> = {
  chat: ["user", "machine", "admin"],
  "sessions:read": ["viewer", "user", "machine", "admin"],
  "plugins:read": ["viewer", "user", "machine", "admin"],
  "plugins:call": ["user", "machine", "admin"],
  "devices:read": ["viewer", "user", "admin"],
  "devices:write": ["user", "admin"],
  "traces:read": ["viewer", "user", "admin"],
  "limits:read": ["viewer", "admin"],
  "events:read": ["viewer", "admin"],
};
const ADMINISTRATORS = ["admin"];

/** Routes that no contract has. */
const handWritten = [
  ["POST", "/v1/chat/completions", "chat"],
  ["POST", "/v1/responses", "chat"],
  ["GET", "/v1/models", "chat"],
  ["POST", "/mcp", "plugins:call"],
  ["POST", "/v1/packages", "plugins:write"],
  ["GET", "/v1/limits", "limits:read"],
  ["PUT", "/v1/limits", "limits:admin"],
] as const;

test("every method lets in the roles that hold its scope, and no other", async (t) => {
  const { auth, url, operator, gateways } = await startWorld(t);
  const tokens: Record<string, string> = { operator: gateways[0]?.operator ?? "" };
  for (const role of Object.keys(roles)) {
    const made = await operator("POST", "/v1/keys", { name: role, role });
    assert.equal(made.status, 200, made.text);
    tokens[role] = String(made.json["token"]);
  }
  const gateway = await auth.nats.connect("gateway");
  let asked = 0;
  for (const method of methods.values()) {
    for (const role of [...Object.keys(tokens), "anonymous"]) {
      const expected =
        method.scope === "public" ||
        (method.scope !== "internal" &&
          (role === "operator" || (holders[method.scope] ?? ADMINISTRATORS).includes(role)));
      if (method.http) {
        const path = method.http.path.replaceAll(/\{[a-z_]+\}/g, "none");
        const headers = role === "anonymous" ? {} : { authorization: `Bearer ${tokens[role]}` };
        // A field that no contract has: what is let in gets no further than the check of its fields.
        const { status, text } = method.http.body
          ? await send(
              url + path,
              method.http.verb,
              { ...headers, "content-type": "application/json" },
              { "no such": 1 },
            )
          : await send(`${url}${path}?none=1`, method.http.verb, headers);
        const refused = role === "anonymous" ? 401 : 403;
        assert.equal(status, expected ? 400 : refused, `${role} ${method.path}: ${text}`);
      }
      asked += 1;
    }
    // What is for services alone, the mesh itself keeps from everybody else; and so it does with every other scope.
    if (
      method.streaming ||
      method.everyReplica ||
      method.scope === "public" ||
      method.service !== "warren.auth.v1.AccessService"
    )
      continue;
    for (const [role, scopes] of [...Object.entries(roles), ["operator", ["*"]]] as [string, readonly string[]][]) {
      const expected = method.scope !== "internal" && (role === "operator" || scopes.includes(method.scope));
      const caller = { principal: "key:test", tenant: "default", scopes, expiresAt: Date.now() + 60_000 };
      const refused = await gateway
        .call(method, Uint8Array.of(0x7a, 0x00), { assertion: gateway.assert(caller) })
        .then(() => false)
        .catch((error: unknown) => error instanceof RpcError && error.code === StatusCode.PERMISSION_DENIED);
      assert.equal(refused, !expected, `${role} ${method.path} over the mesh`);
    }
  }
  assert.ok(asked >= methods.size * 6);

  for (const [verb, path, scope] of handWritten)
    for (const role of [...Object.keys(tokens), "anonymous"]) {
      const expected = role === "operator" || (holders[scope] ?? ADMINISTRATORS).includes(role);
      const headers: Record<string, string> = role === "anonymous" ? {} : { authorization: `Bearer ${tokens[role]}` };
      const { status, text } = await (verb === "GET"
        ? send(url + path, verb, headers)
        : send(url + path, verb, { ...headers, "content-type": "application/json" }, "no JSON"));
      const refused = role === "anonymous" ? 401 : 403;
      if (expected) assert.ok(status !== 401 && status !== 403, `${role} ${verb} ${path}: ${status} ${text}`);
      else assert.equal(status, refused, `${role} ${verb} ${path}: ${text}`);
    }
});

test("what a device may see is its own: conversations, devices; what is another's looks as if it were not there", async (t) => {
  const { url, pair } = await startWorld(t);
  const [mine, other] = [await pair({ scopes: [...roles.user] }), await pair({ scopes: [...roles.user] })];
  const { json } = await mine.call("GET", `${url}/v1/devices`);
  assert.deepEqual(
    (json["devices"] as { id: string }[]).map(({ id }) => id),
    [mine.id],
  );
  const foreign = await mine.call("DELETE", `${url}/v1/devices/${other.id}`);
  const missing = await mine.call("DELETE", `${url}/v1/devices/${"0".repeat(32)}`);
  assert.equal(foreign.status, 404);
  assert.equal(foreign.json["code"], missing.json["code"]);
  assert.equal((await other.call("GET", `${url}/v1/session`)).status, 200, "and nothing has happened to it");
  const escalations = [
    ["GET", "/v1/pairing"],
    ["GET", "/v1/keys"],
    ["GET", "/v1/audit"],
    ["GET", "/v1/secrets"],
    ["GET", "/v1/console-sessions"],
  ] as const;
  for (const [method, path] of escalations)
    assert.equal((await mine.call(method, url + path)).status, 403, `${method} ${path}`);
  assert.equal((await mine.call("POST", `${url}/v1/keys`, { name: "more", role: "admin" })).status, 403);
});
