import assert from "node:assert/strict";
import { test } from "node:test";
import { methods, type MethodContract } from "@warren/contract";
import { contractRoutes, pathPattern } from "../../src/edge/routes.ts";

function method(path: string, changes: Partial<MethodContract>): MethodContract {
  const known = methods.get(path);
  assert.ok(known);
  return { ...known, ...changes };
}

const chat = "warren.agent.v1.AgentService/Chat";
const http = (path: string, body = "*") => ({ verb: "POST" as const, path, body });

test("methods that share a route become one, and those without a rule none", () => {
  const routes = contractRoutes(methods.values());
  const shared = routes.filter((route) => route.template === "/v1/chat");
  assert.deepEqual(
    shared.map((route) => [route.unary?.name, route.streaming?.name]),
    [["Chat", "StreamChat"]],
  );
  assert.ok(routes.every((route) => route.scope !== "internal"));
  const complete = routes.find((route) => route.template === "/v1/pairing/{id}:complete");
  assert.equal(complete?.path, "/v1/pairing/:id(^[^:/]+)::complete");
});

test("contracts that the edge cannot serve as they say do not start", () => {
  const wrong: [changes: Partial<MethodContract>, message: RegExp][] = [
    [{ scope: "internal" }, /internal and has an HTTP route/],
    [{ http: http("/v1/chat", "message") }, /bodies/],
    [{ http: http("/v1/{nobody}") }, /no scalar field/],
  ];
  for (const [changes, message] of wrong) assert.throws(() => contractRoutes([method(chat, changes)]), message);
  assert.throws(() => contractRoutes([method(chat, {}), method(chat, { name: "Other" })]), /same route/);
  assert.throws(
    () => contractRoutes([method(chat, {}), method(chat, { streaming: true, scope: "other" })]),
    /differ in scope/,
  );
});

test("a template's pattern fits its paths and no others", () => {
  const pattern = pathPattern("/v1/pairing/{id}:complete");
  for (const path of ["/v1/pairing/a:complete", "/v1/pairing/:complete"]) assert.match(path, pattern);
  for (const path of [
    "/v1/pairing/a",
    "/v1/pairing/a/b:complete",
    "/v1/pairing/a:complete/x",
    "/v1xpairing/a:complete",
  ])
    assert.doesNotMatch(path, pattern);
});
