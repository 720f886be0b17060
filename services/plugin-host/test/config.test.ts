import assert from "node:assert/strict";
import { isAbsolute } from "node:path";
import { test } from "node:test";
import { config, nodeProgram, npmEnvironment, npmProgram, storeFolder } from "../src/config.ts";

test("plugins are unpacked below the data folder unless another one is named", () => {
  assert.equal(storeFolder(config.parse({ dataDir: "/data" })), "/data/plugins");
  assert.equal(storeFolder(config.parse({ dataDir: "/data", storeDir: "/store" })), "/store");
});

test("npm is given only what it needs to reach its registry", () => {
  assert.deepEqual(npmEnvironment(config.parse({})), {});
  const settings = config.parse({
    npmRegistry: "https://registry.example.com/",
    httpsProxy: "http://proxy:1",
    path: "/bin",
  });
  assert.deepEqual(npmEnvironment(settings), {
    npm_config_registry: "https://registry.example.com/",
    HTTPS_PROXY: "http://proxy:1",
  });
});

test("every setting says what it is and which variable sets it", () => {
  for (const [name, field] of Object.entries(config.shape)) {
    assert.ok((field as { description?: string }).description, name);
    assert.ok((field.meta() as { env?: string } | undefined)?.env, name);
  }
});

test("programs are absolute paths", () => {
  assert.ok(isAbsolute(nodeProgram()));
  assert.ok(isAbsolute(npmProgram(process.env["PATH"] ?? "")));
  assert.ok(isAbsolute(npmProgram("")));
});
