import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import { checkManifest, ManifestError, manifestSchemaText, parseManifest } from "../src/index.ts";

const least = {
  id: "clock",
  version: "1.2.3",
  name: "Clock",
  description: "Tells the time.",
  runtime: "node",
  entry: "main.js",
};

function problemsOf(change: Record<string, unknown>): Record<string, string> {
  try {
    checkManifest({ ...least, ...change });
  } catch (error) {
    assert.ok(error instanceof ManifestError);
    assert.equal(error.code, "MANIFEST_INVALID");
    return Object.fromEntries(error.problems.map(({ path, message }) => [path, message]));
  }
  return {};
}

test("a manifest with only what is required gets every default", () => {
  const manifest = parseManifest(JSON.stringify(least));
  assert.deepEqual(manifest, {
    ...least,
    apiVersion: "1",
    capabilities: [],
    permissions: { required: [], optional: [] },
    limits: {
      memoryBytes: 268_435_456,
      cpus: 1,
      maxProcesses: 64,
      callTimeoutMs: 30_000,
      maxOpenFiles: 256,
      tmpBytes: 16_777_216,
    },
    isolation: "process",
    dependencies: { plugins: {}, system: [], packages: {} },
    integrity: {},
  });
});

test("a manifest with everything is taken as it is, from bytes and with a byte order mark", () => {
  const full = {
    ...parseManifest(JSON.stringify(least)),
    $schema: "https://example.com/plugin.schema.json",
    author: { name: "Ada", email: "ada@example.com", url: "https://example.com" },
    licence: "Apache-2.0",
    capabilities: ["time.current@1.0.0"],
    permissions: {
      required: ["fs:read:/srv/docs"],
      optional: ["net:outbound:*.example.com:443", "secrets:lease:api.key"],
    },
    limits: {
      memoryBytes: 8 * 1024 * 1024,
      cpus: 0.5,
      maxProcesses: 1,
      callTimeoutMs: 100,
      maxOpenFiles: 16,
      tmpBytes: 0,
    },
    isolation: "vm",
    dependencies: { plugins: { text: "^1.0.0" }, system: ["ffmpeg"], packages: { "left-pad": "~1.3.0" } },
    config: { type: "object", properties: { zone: { type: "string" } } },
    integrity: { "main.js": `sha256:${"0".repeat(64)}` },
  };
  assert.deepEqual(parseManifest(Buffer.from(`\ufeff${JSON.stringify(full)}`)), full);
});

test("an MCP server has a command instead of an entry point", () => {
  const { entry: _, ...rest } = least;
  const manifest = checkManifest({ ...rest, runtime: "mcp", command: ["node", "server.js"] });
  assert.ok(manifest.runtime === "mcp");
  assert.deepEqual(manifest.command, ["node", "server.js"]);
  assert.match(problemsOf({ runtime: "mcp", command: ["node"] }).entry ?? "", /not for runtime "mcp"/);
  assert.match(problemsOf({ command: ["node"] }).command ?? "", /only for runtime "mcp"/);
  assert.match(problemsOf({ runtime: "mcp", entry: undefined, command: [] }).command ?? "", /must not be empty/);
  assert.match(problemsOf({ runtime: "mcp", entry: undefined, command: ["a\0b"] })["command[0]"] ?? "", /NUL/);
});

test("everything that is wrong is reported at once, each with its path", () => {
  const problems = problemsOf({
    id: "Clock!",
    version: "v1",
    runtime: "perl",
    entry: "../main.js",
    limits: { cpus: 0, memoryBytes: 1.5 },
    permissions: { required: ["fs:read:docs"] },
    dependencies: { plugins: { text: "latest and greatest" }, system: ["rm -rf"] },
    integrity: { "/etc/passwd": "sha256:1" },
  });
  assert.deepEqual(Object.keys(problems).toSorted(), [
    "dependencies.plugins.text",
    "dependencies.system[0]",
    "entry",
    "id",
    'integrity["/etc/passwd"]',
    "limits.cpus",
    "limits.memoryBytes",
    "permissions.required[0]",
    "runtime",
    "version",
  ]);
  assert.match(problems.runtime ?? "", /"node" or "python" or "wasm" or "native"/);
  assert.match(problems["permissions.required[0]"] ?? "", /absolute, normalized path/);
});

test("what is missing is said to be required", () => {
  assert.deepEqual(problemsOf({ id: undefined, name: undefined, entry: undefined, runtime: undefined }), {
    id: "is required",
    name: "is required",
    entry: "is required",
    runtime: "is required",
  });
});

test("an unknown key is refused with the nearest right one", () => {
  assert.match(problemsOf({ license: "MIT" }).license ?? "", /did you mean "licence"/);
  assert.match(problemsOf({ limits: { memoryByte: 1 } })["limits.memoryByte"] ?? "", /did you mean "memoryBytes"/);
  assert.match(problemsOf({ author: { name: "A", mail: "a@b.c" } })["author.mail"] ?? "", /did you mean "email"/);
  assert.match(problemsOf({ permissions: { zzzzzz: [] } })["permissions.zzzzzz"] ?? "", /known are required, optional/);
});

test("limits have upper bounds", () => {
  const limits = {
    memoryBytes: 2 ** 40,
    cpus: 65,
    maxProcesses: 5000,
    callTimeoutMs: 1e7,
    maxOpenFiles: 1e6,
    tmpBytes: 2 ** 40,
  };
  assert.equal(Object.keys(problemsOf({ limits })).length, 6);
});

test("names cannot control a terminal or reorder what it shows", () => {
  for (const name of ["a\nb", "a\u001b[31m", "a\u202eb", ""])
    assert.ok(problemsOf({ name }).name, JSON.stringify(name));
  for (const id of ["-a", "a-", "a_b", "a.b", "*", ">", "A", "", "a".repeat(49), "a\0"])
    assert.ok(problemsOf({ id }).id, id);
});

test("text that is no JSON object is refused", () => {
  for (const text of ["", "{", "[]", "null", "3", '"x"', Buffer.from([0x7b, 0xff, 0x7d])]) {
    assert.throws(() => parseManifest(text), ManifestError);
  }
  assert.throws(() => parseManifest(JSON.stringify({ ...least, x: "y".repeat(200_000) })), /larger than/);
});

test("any JSON is either a manifest or a ManifestError", () => {
  fc.assert(
    fc.property(
      fc.jsonValue(),
      fc.constantFrom(...Object.keys(least), "limits", "permissions", "author"),
      (value, key) => {
        for (const candidate of [value, { ...least, [key]: value }]) {
          try {
            checkManifest(candidate);
          } catch (error) {
            assert.ok(error instanceof ManifestError && error.problems.length > 0);
          }
        }
      },
    ),
  );
});

test("the published JSON Schema is the one the code has", async () => {
  const published = await readFile(new URL("../../../docs/reference/plugin.schema.json", import.meta.url), "utf8");
  const same = isDeepStrictEqual(JSON.parse(published), JSON.parse(manifestSchemaText()));
  assert.ok(same, "it differs: run node packages/plugin-manifest/src/write-schema.ts, then npm run format");
});
