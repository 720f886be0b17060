import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { ConfigError, type Environment, loadConfig, nearest } from "@warren/service";
import { z } from "zod";
import { commonConfig } from "../src/config.ts";

const schema = z.object({
  port: z.coerce.number().int().min(1).max(65_535).default(80).describe("Where to listen.").meta({ env: "TEST_PORT" }),
  mode: z.enum(["fast", "safe"]).default("safe").describe("How to work.").meta({ env: "TEST_MODE" }),
  token: z.string().min(20).describe("The token.").meta({ env: "TEST_TOKEN" }),
});
const TOKEN = "a-token-that-is-long-enough";

/** A settings file that ends with the test. */
function fileOf(t: TestContext, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "warren-config-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "warren.config.yaml");
  writeFileSync(path, text);
  return path;
}

/** What is said of a configuration that cannot be used. */
function problem(env: Environment): string {
  let text = "";
  assert.throws(
    () => loadConfig(schema, "auth", env),
    (error) => {
      assert.ok(error instanceof ConfigError, String(error));
      text = error.message;
      return true;
    },
  );
  return text;
}

test("a default gives way to the file, the file to the environment", (t) => {
  const file = fileOf(t, `auth:\n  port: 81\n  mode: fast\nagent:\n  port: 99\n`);
  const env = { TEST_TOKEN: TOKEN };
  assert.deepEqual(loadConfig(schema, "auth", env), { port: 80, mode: "safe", token: TOKEN });
  assert.deepEqual(loadConfig(schema, "auth", { ...env, WARREN_CONFIG: file }), {
    port: 81,
    mode: "fast",
    token: TOKEN,
  });
  const all = { ...env, WARREN_CONFIG: file, TEST_PORT: "82" };
  assert.deepEqual(loadConfig(schema, "auth", all), { port: 82, mode: "fast", token: TOKEN });
});

test("an empty variable counts as not set; an empty file, or one without the service, as no settings", (t) => {
  assert.equal(loadConfig(schema, "auth", { TEST_TOKEN: TOKEN, TEST_PORT: "" }).port, 80);
  for (const text of ["", "agent:\n  port: 99\n", "auth:\n"])
    assert.equal(loadConfig(schema, "auth", { TEST_TOKEN: TOKEN, WARREN_CONFIG: fileOf(t, text) }).port, 80);
});

test("every problem is told at once: by its variable, with what it is for, without its value", (t) => {
  const env = { TEST_PORT: "0", TEST_MODE: "hunter2", TEST_TOKEN: "short-secret" };
  const text = problem(env);
  for (const part of ["auth", "TEST_PORT", "Where to listen.", "TEST_MODE", "TEST_TOKEN", "The token."])
    assert.ok(text.includes(part), part);
  assert.doesNotMatch(text, /hunter2|short-secret/);
  const both = problem({ ...env, WARREN_CONFIG: fileOf(t, "auth:\n  prot: 81\n  tokn: x\n") });
  for (const part of ["TEST_PORT", "no setting prot; did you mean port?", "no setting tokn; did you mean token?"])
    assert.ok(both.includes(part), both);
});

test("a setting that is missing is named by its variable", () => {
  assert.match(problem({}), /TEST_TOKEN: .*The token\./);
});

test("an unknown setting in the file stops the service also when all else is right", (t) => {
  const file = fileOf(t, "auth:\n  modus: fast\n");
  assert.match(problem({ TEST_TOKEN: TOKEN, WARREN_CONFIG: file }), /auth has no setting modus; did you mean mode\?/);
});

test("a file that cannot be read, is no YAML or holds no settings is told as such", (t) => {
  const env = { TEST_TOKEN: TOKEN };
  assert.match(
    problem({ ...env, WARREN_CONFIG: "/nowhere/warren.yaml" }),
    /WARREN_CONFIG names \/nowhere\/warren.yaml.*ENOENT/,
  );
  assert.match(problem({ ...env, WARREN_CONFIG: fileOf(t, "auth: [") }), /cannot be read/);
  for (const text of ["- a\n", "text\n", "5\n"])
    assert.match(problem({ ...env, WARREN_CONFIG: fileOf(t, text) }), /must hold settings by service, such as "auth:"/);
  for (const text of ["auth: 5\n", "auth: text\n", "auth: [a]\n"])
    assert.match(problem({ ...env, WARREN_CONFIG: fileOf(t, text) }), /auth must hold settings by name/);
});

test("a schema whose field names no variable is a mistake of its author", () => {
  const bad = z.object({ port: z.string().optional() });
  assert.throws(() => loadConfig(bad, "auth", {}), /names no environment variable/);
});

test("the settings of every service are described, named once, and usable without any but the credential", () => {
  const fields = Object.entries(commonConfig.shape);
  const names = fields.map(([, field]) => (field.meta() as { env: string }).env);
  assert.deepEqual(names, [...new Set(names)]);
  for (const [key, field] of fields) assert.ok(field.description, key);
  const config = loadConfig(commonConfig, "auth", {
    WARREN_MESH_CREDENTIALS: "/x",
    WARREN_NATS_URL: "nats://a:1, nats://b:2",
  });
  assert.deepEqual(config.natsServers, ["nats://a:1", "nats://b:2"]);
  assert.equal(config.logLevel, "info");
  assert.throws(
    () => loadConfig(commonConfig, "auth", { WARREN_MESH_CREDENTIALS: "/x", WARREN_INSTANCE_ID: "a b" }),
    ConfigError,
  );
});

test("the nearest word is the one that takes the fewest edits", () => {
  const known = ["port", "host", "logLevel"];
  assert.equal(nearest("prt", known), "port");
  assert.equal(nearest("loglevel", known), "logLevel");
  assert.equal(nearest("hots", known), "host");
  assert.equal(nearest("x", []), undefined);
});
