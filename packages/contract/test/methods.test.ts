import assert from "node:assert/strict";
import test from "node:test";
import { type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { DEFAULT_TIMEOUT_MS, eventContract, methodContract, methods } from "@warren/contract";
import { describeMethod } from "../src/methods.ts";
import { registry } from "../src/registry.ts";
import { probeMethod } from "./support.ts";

const SCOPE = /^(public|internal|[a-z]+(:[a-z]+)?)$/;

test("every method of every service has a scope and a limit for its time", () => {
  // Those of gRPC itself have no options of ours.
  const services = [...registry].filter((each) => each.kind === "service" && each.typeName.startsWith("warren."));
  assert.equal(methods.size, services.flatMap((each) => (each.kind === "service" ? each.methods : [])).length);
  assert.ok(methods.size > 20);
  for (const [path, method] of methods) {
    assert.equal(path, `${method.service}/${method.name}`);
    assert.match(method.scope, SCOPE, path);
    assert.ok(method.timeoutMs > 0 && method.timeoutMs <= 600_000, path);
  }
});

test("every list has pages (AIP-158), but for what a configuration file holds", () => {
  const lists = [...methods.values()].filter(({ name }) => /^List[A-Z]/.test(name));
  assert.ok(lists.length > 5);
  for (const { path, input, output } of lists) {
    // The gateway alone asks, for a list of OpenAI's form, which has none.
    if (path === "warren.agent.v1.AgentService/ListModels") continue;
    const types = (message: DescMessage): Record<string, unknown> =>
      Object.fromEntries(message.fields.map(({ name, scalar }) => [name, scalar]));
    assert.partialDeepStrictEqual(types(input), { page_size: ScalarType.UINT32, page_token: ScalarType.STRING }, path);
    assert.partialDeepStrictEqual(types(output), { next_page_token: ScalarType.STRING }, path);
  }
});

test("what only services call is not reachable from outside", () => {
  for (const method of methods.values())
    if (method.scope === "internal") assert.equal(method.http, undefined, method.path);
});

test("no two methods share a route, but for the two forms of one answer", () => {
  const routes = [...methods.values()].flatMap(({ http, streaming }) =>
    http ? [`${http.verb} ${http.path} ${streaming}`] : [],
  );
  assert.deepEqual(routes.toSorted(), [...new Set(routes)].toSorted());
});

test("every variable of a route is a field of the request, and a body is taken where the verb has one", () => {
  for (const { path, http, input } of methods.values()) {
    if (!http) continue;
    const names = [...http.path.matchAll(/\{([^}]+)\}/g)].map((match) => match[1]);
    for (const name of names)
      assert.ok(
        input.fields.some((field) => field.name === name),
        `${path} has no field ${name}`,
      );
    assert.equal(http.body, ["POST", "PUT", "PATCH"].includes(http.verb) ? "*" : "", path);
  }
});

test("options are read as the contract gives them", () => {
  const call = methodContract("warren.plugins.v1.PluginService", "CallTool");
  assert.equal(call.keyField, "pluginId");
  assert.equal(call.timeoutMs, 30_000);
  assert.equal(call.idempotent, false);
  assert.deepEqual(call.http, { verb: "POST", path: "/v1/plugins/{plugin_id}/tools/{tool}:call", body: "*" });
  const logs = methodContract("warren.plugins.v1.PluginService", "GetPluginLogs");
  assert.deepEqual([logs.everyReplica, logs.idempotent, logs.limitClass], [true, true, "query"]);
  assert.equal(methodContract("warren.agent.v1.AgentService", "StreamChat").streaming, true);
  assert.equal(methodContract("warren.auth.v1.AuthService", "ListDevices").timeoutMs, DEFAULT_TIMEOUT_MS);
});

test("a method or an event that no contract has is an error that says what to do", () => {
  assert.throws(() => methodContract("warren.agent.v1.AgentService", "Nope"), /AgentService\/Nope.*npm run proto/);
  assert.throws(() => eventContract("warren.agent.v1.ChatRequest"), /is no event/);
  assert.throws(() => eventContract("nothing.At.All"), /is no event/);
});

test("every event has a name that can stand in a subject", () => {
  const events = [...registry].filter((each) => each.kind === "message" && each.file.name.includes("/events/"));
  const names = events.map((each) => eventContract(each.typeName).name);
  assert.ok(names.length > 5);
  for (const name of names) assert.match(name, /^[a-z]+(\.[a-z_]+)+$/);
  assert.deepEqual(names.toSorted(), [...new Set(names)].toSorted());
});

test("a contract that says too little, or what the mesh does not do, is refused", () => {
  assert.throws(() => describeMethod(probeMethod()), /test.ProbeService\/Ask has no scope/);
  assert.throws(() => describeMethod(probeMethod({ scope: "" })), /has no scope/);
  assert.throws(
    () => describeMethod(probeMethod({ scope: "chat", keyField: "tool" })),
    /key_field tool is not a field of its request/,
  );
  // What a key or a route would be is told by one request, before any of a stream.
  for (const more of [{ keyField: "plugin_id" }, { everyReplica: true }])
    assert.throws(
      () => describeMethod(probeMethod({ scope: "chat", ...more }, { client: true })),
      /streams its requests/,
    );
});

test("a contract that says enough has defaults for the rest", () => {
  const described = describeMethod(probeMethod({ scope: "chat", keyField: "plugin_id" }, { server: true }));
  assert.deepEqual(
    [described.path, described.keyField, described.timeoutMs, described.streaming, described.idempotent],
    ["test.ProbeService/Ask", "pluginId", DEFAULT_TIMEOUT_MS, true, false],
  );
  assert.equal(described.http, undefined);
  assert.equal(described.requestStreaming, false);
  const { streaming, requestStreaming } = describeMethod(probeMethod({ scope: "chat" }, { client: true }));
  assert.deepEqual([streaming, requestStreaming], [false, true]);
  const both = describeMethod(probeMethod({ scope: "chat" }, { client: true, server: true }));
  assert.deepEqual([both.streaming, both.requestStreaming], [true, true]);
});
