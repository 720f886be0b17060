import assert from "node:assert/strict";
import { test } from "node:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { methods } from "@warren/contract";
import { openApiDocument } from "../../src/edge/openapi.ts";
import { contractRoutes } from "../../src/edge/routes.ts";
import { startGateway } from "../support.ts";

type Json = { readonly [key: string]: Json } | readonly Json[] | string | number | boolean | null;
type JsonObject = { readonly [key: string]: Json };

const document = JSON.parse(JSON.stringify(openApiDocument(contractRoutes(methods.values()), "1.2.3"))) as JsonObject;

function at(path: string, from: Json = document): Json {
  return path.split(".").reduce<Json>((value, key) => {
    assert.ok(typeof value === "object" && value !== null && Object.hasOwn(value, key), `${path}: no ${key}`);
    return (value as JsonObject)[key] as Json;
  }, from);
}

/** Every value of a document, with the path that leads to it. */
function* walk(value: Json, path: readonly string[] = []): Generator<[readonly string[], Json]> {
  yield [path, value];
  if (typeof value === "object" && value !== null)
    for (const [key, item] of Object.entries(value)) yield* walk(item as Json, [...path, key]);
}

function assertLeadsSomewhere(reference: string): void {
  const [root, ...keys] = reference.split("/");
  assert.equal(root, "#");
  keys.reduce<Json | undefined>((value, key) => {
    assert.ok(typeof value === "object" && value !== null && Object.hasOwn(value, key), reference);
    return (value as JsonObject)[key];
  }, document);
}

const operations = Object.entries(document["paths"] as JsonObject).flatMap(([path, verbs]) =>
  Object.entries(verbs as JsonObject).map(([verb, operation]) => ({ path, verb, operation: operation as JsonObject })),
);

test("the document is OpenAPI 3.1 of what is served: every route, once", async (t) => {
  const { call } = await startGateway(t);
  const served = await call("GET", "/openapi.json", { anonymous: true });
  assert.equal(served.headers.get("content-type"), "application/json; charset=utf-8");
  assert.equal(served.json["openapi"], "3.1.0");
  assert.deepEqual(Object.keys(served.json["paths"] as object), Object.keys(document["paths"] as object));
  assert.deepEqual(document["info"], {
    title: "Warren",
    version: "1.2.3",
    summary: (document["info"] as JsonObject)["summary"],
  });
  const routed = [...methods.values()]
    .filter((method) => method.http)
    .map((method) => `${method.http?.verb.toLowerCase()} ${method.http?.path}`);
  const documented = operations.map(({ path, verb }) => `${verb} ${path}`);
  for (const route of routed) assert.ok(documented.includes(route), route);
  assert.equal(new Set(documented).size, documented.length);
  for (const { path, verb } of operations) {
    const concrete = path.replaceAll(/\{[a-z_]+\}/g, "x");
    const { status } = await call(verb.toUpperCase(), concrete, { anonymous: true });
    assert.ok(status !== 404 && status !== 405, `${verb} ${concrete}: ${status}`);
  }
});

test("every reference leads somewhere, every operation has its own id, parameters and answers", () => {
  for (const [path, value] of walk(document)) {
    if (path.at(-1) === "$ref" && typeof value === "string") assertLeadsSomewhere(value);
    if (path.at(-1) === "pattern" && typeof value === "string")
      assert.doesNotThrow(() => new RegExp(value, "u"), path.join("."));
  }
  const ids = operations.map(({ operation }) => operation["operationId"]);
  assert.equal(new Set(ids).size, ids.length);
  for (const { path, verb, operation } of operations) {
    const parameters = (operation["parameters"] ?? []) as readonly JsonObject[];
    const inPath = parameters.filter((each) => each["in"] === "path").map((each) => each["name"]);
    assert.deepEqual(
      inPath,
      [...path.matchAll(/\{([a-z_]+)\}/g)].map(([, name]) => name),
      `${verb} ${path}`,
    );
    assert.ok(parameters.every((each) => each["in"] !== "path" || each["required"] === true));
    assert.equal(new Set(parameters.map((each) => JSON.stringify([each["in"], each["name"]]))).size, parameters.length);
    assert.ok(Object.keys(operation["responses"] as object).length > 0);
    assert.ok(Array.isArray(operation["security"]), `${path} says who may call it`);
    if (verb === "get" || verb === "delete") assert.equal(operation["requestBody"], undefined);
  }
});

test("schemas carry the contract's rules, and the path's fields are not asked for again in the body", () => {
  const schemas = (document["components"] as JsonObject)["schemas"] as JsonObject;
  assert.deepEqual(schemas["warren.agent.v1.ChatRequest"], {
    type: "object",
    title: "ChatRequest",
    properties: {
      sessionId: { type: "string", pattern: "^(?:[A-Za-z0-9_-]{1,64})?$" },
      message: { type: "string", maxLength: 65_536 },
    },
    required: ["message"],
  });
  const call = at(
    "post.requestBody.content",
    (document["paths"] as JsonObject)["/v1/plugins/{plugin_id}/tools/{tool}:call"] as Json,
  ) as JsonObject;
  const body = (call["application/json"] as JsonObject)["schema"] as JsonObject;
  assert.deepEqual(body["properties"], { arguments: { type: "object" } });
  const chat = at("post.responses.200.content", (document["paths"] as JsonObject)["/v1/chat"] as Json) as JsonObject;
  assert.deepEqual(Object.keys(chat), ["application/json", "text/event-stream", "application/x-ndjson"]);
  const security = at("get.security", (document["paths"] as JsonObject)["/v1/sessions"] as Json);
  assert.deepEqual(security, [{ bearer: ["sessions:read"] }, { header: ["sessions:read"] }]);
  assert.ok(!JSON.stringify(document).includes("LeaseSecret"), "what is internal is not told");
});

test("the document is valid OpenAPI 3.1, by a validator that is not ours", async () => {
  const { valid, errors } = await new Validator().validate(structuredClone(document) as Record<string, unknown>);
  assert.equal(errors, undefined);
  assert.equal(valid, true);
});
