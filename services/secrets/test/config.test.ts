import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigError, loadConfig } from "@warren/service";
import { config, rootKeySource } from "../src/config.ts";

function sourceFrom(env: Record<string, string>): unknown {
  return rootKeySource(loadConfig(config, "secrets", env));
}

test("the root key is a file in the data folder unless another place is configured", () => {
  assert.deepEqual(sourceFrom({}), { kind: "file", path: ".warren/secrets/root.key" });
  assert.deepEqual(sourceFrom({ WARREN_DATA_DIR: "/data" }), { kind: "file", path: "/data/secrets/root.key" });
  assert.deepEqual(sourceFrom({ WARREN_SECRETS_ROOT_KEY_FILE: "/k" }), { kind: "file", path: "/k" });
  assert.deepEqual(sourceFrom({ WARREN_SECRETS_PASSPHRASE_FILE: "/p" }), { kind: "passphrase", path: "/p" });
});

test("a passphrase is used where one is configured, also beside a root key file", () => {
  const both = { WARREN_SECRETS_ROOT_KEY_FILE: "/k", WARREN_SECRETS_PASSPHRASE_FILE: "/p" };
  assert.deepEqual(sourceFrom(both), { kind: "passphrase", path: "/p" });
});

test("a generation to accept is a positive whole number", () => {
  const accepted = loadConfig(config, "secrets", { WARREN_SECRETS_ACCEPT_GENERATION: "42" }).acceptGeneration;
  assert.equal(accepted, 42);
  for (const wrong of ["0", "-1", "1.5", "yes"]) {
    assert.throws(() => loadConfig(config, "secrets", { WARREN_SECRETS_ACCEPT_GENERATION: wrong }), ConfigError);
  }
});

test("every setting is described and names its variable", () => {
  for (const [name, field] of Object.entries(config.shape)) {
    assert.ok(field.description, name);
    assert.match(String(field.meta()?.["env"]), /^WARREN_/, name);
  }
});
