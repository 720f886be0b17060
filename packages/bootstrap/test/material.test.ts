import assert from "node:assert/strict";
import test from "node:test";
import { OBSERVER, parseCredentials, services } from "@warren/mesh/policy";
import { completeMaterial, parseMaterial, serializeMaterial } from "../src/material.ts";
import { filesOf, partNames } from "../src/parts.ts";

test("material is made whole, and kept as it is when it is there", () => {
  const made = completeMaterial();
  assert.deepEqual(Object.keys(made.mesh).sort(), [...Object.keys(services), OBSERVER].sort());
  assert.equal(Buffer.from(made.root, "base64").length, 32);
  assert.match(made.operator, /^wop_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/);
  assert.deepEqual(completeMaterial(parseMaterial(serializeMaterial(made))), made);
});

test("a service that is new in a version gets its key, and the others keep theirs", () => {
  const { mesh, ...rest } = completeMaterial();
  const { agent, ...others } = mesh;
  const again = completeMaterial({ ...rest, mesh: others });
  assert.notEqual(again.mesh["agent"], agent);
  assert.deepEqual({ ...again.mesh, agent: "" }, { ...mesh, agent: "" });
});

test("one kind is made anew by itself, and the vault's root key with none of them", () => {
  const made = completeMaterial();
  const renewed = completeMaterial(made, ["redis", "operator"]);
  assert.notEqual(renewed.redis, made.redis);
  assert.notEqual(renewed.operator, made.operator);
  assert.equal(
    renewed.operator.slice(0, 20),
    made.operator.slice(0, 20),
    "the old token is replaced, not joined by another",
  );
  assert.deepEqual(renewed.mesh, made.mesh);
  assert.equal(completeMaterial(made, ["mesh", "route", "redis", "operator"]).root, made.root);
});

test("damaged material is refused by the name of what is wrong, and its values stay inside", () => {
  const made = completeMaterial();
  const canary = "canary-9f1c";
  for (const [name, broken] of [
    ["JSON", `{"root":"${canary}`],
    ["version", JSON.stringify({ ...made, version: 2, root: canary })],
    ["root", JSON.stringify({ ...made, root: canary })],
    ["mesh", JSON.stringify({ ...made, mesh: { agent: canary } })],
    ["operator", JSON.stringify({ ...made, operator: canary })],
    ["redis", JSON.stringify({ ...made, redis: canary })],
  ] as const)
    assert.throws(
      () => parseMaterial(broken),
      (error: Error) => error.message.includes(`(${name})`) && !error.message.includes(canary),
    );
});

test("each part holds its own secrets and no other's", () => {
  const material = completeMaterial();
  const parts = filesOf(material);
  assert.deepEqual(Object.keys(parts).sort(), partNames().sort());
  const text = (part: string): string => Object.values(parts[part] ?? {}).join("\n");
  const secrets = { ...material.mesh, route: material.route, redis: material.redis, operator: material.operator };
  const holders = Object.fromEntries(
    Object.entries(secrets).map(([name, value]) => [name, partNames().filter((part) => text(part).includes(value))]),
  );
  assert.deepEqual(holders, {
    gateway: ["gateway"],
    auth: ["auth"],
    agent: ["agent"],
    "plugin-host": ["plugin-host"],
    secrets: ["secrets"],
    observer: [],
    route: ["nats"],
    redis: ["gateway", "redis"],
    operator: ["auth"],
  });
  assert.deepEqual(parts["secrets"]?.["root.key"], Buffer.from(material.root, "base64"));
});

test("the credentials of all services name the same public keys, which the NATS servers know", () => {
  const parts = filesOf(completeMaterial());
  const publicKeys = JSON.parse(String(parts["nats"]?.["public-keys.json"])) as Record<string, string>;
  // Who observes may log in to NATS, and no service believes a word of theirs.
  const { [OBSERVER]: observer, ...known } = publicKeys;
  for (const name of Object.keys(services)) {
    const { service, trusted } = parseCredentials(String(parts[name]?.["mesh.json"]));
    assert.equal(service, name);
    assert.deepEqual(trusted, { services: known, speakForUsers: ["gateway"] });
  }
  assert.match(observer ?? "", /^U/);
});
