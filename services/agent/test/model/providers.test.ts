import assert from "node:assert/strict";
import { test } from "node:test";
import { loadConfig } from "@warren/service";
import { config } from "../../src/config.ts";
import { parseModels } from "../../src/model/providers.ts";

test("a list of models is read in order; a model's name may hold colons", () => {
  assert.deepEqual(parseModels("openai-compatible:llama3:8b, anthropic:claude-opus-4 ,offline"), [
    { kind: "openai-compatible", model: "llama3:8b" },
    { kind: "anthropic", model: "claude-opus-4" },
    { kind: "offline", model: "" },
  ]);
});

for (const wrong of ["", "llama3", "openai", "openai:", "offline:x", "offline,,offline"]) {
  test(`"${wrong}" is refused`, () => assert.throws(() => parseModels(wrong), /model/));
}

test("without settings, the offline model answers", () => {
  const read = loadConfig(config, "agent", {});
  assert.deepEqual(read.models, [{ kind: "offline", model: "" }]);
  assert.deepEqual([read.maxSteps, read.maxTools, read.toolTimeoutMs], [16, 24, 30_000]);
});

test("a wrong setting is named with its variable, and a key in a URL is refused", () => {
  assert.throws(() => loadConfig(config, "agent", { WARREN_MODELS: "gpt" }), /WARREN_MODELS: "gpt" is no model/);
  assert.throws(
    () => loadConfig(config, "agent", { WARREN_OPENAI_COMPATIBLE_URL: "ftp://x" }),
    /WARREN_OPENAI_COMPATIBLE_URL/,
  );
  assert.throws(
    () => loadConfig(config, "agent", { WARREN_OPENAI_COMPATIBLE_URL: "http://u:p@127.0.0.1/v1" }),
    /key file/,
  );
});
