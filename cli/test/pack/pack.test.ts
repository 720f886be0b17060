import assert from "node:assert/strict";
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { ManifestError, PackageError, unpackInto } from "@warren/plugin-manifest";
import { PackError } from "../../src/pack/errors.ts";
import { packPlugin } from "../../src/pack/pack.ts";

const plugins = fileURLToPath(new URL("../../../plugins/", import.meta.url));
const manifest = {
  id: "demo",
  version: "1.0.0",
  name: "Demo",
  description: "A demo.",
  runtime: "node",
  entry: "main.ts",
};

async function newFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "warren-pack-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A plugin's folder. An object is written as JSON. */
async function pluginFolder(t: TestContext, files: Record<string, string | object>): Promise<string> {
  const folder = await newFolder(t);
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), typeof content === "string" ? content : JSON.stringify(content));
  }
  return folder;
}

async function unpacked(t: TestContext, folder: string): Promise<{ folder: string; files: string[]; entry: string }> {
  const { bytes, digest } = await packPlugin(folder);
  const place = await unpackInto(bytes, digest, await newFolder(t));
  const found = await readdir(place.folder, { recursive: true, withFileTypes: true });
  const files = found.filter((each) => each.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return {
    folder: place.folder,
    files: files.map((file) => file.slice(place.folder.length + 1)).toSorted(),
    entry: place.manifest.runtime === "mcp" ? "" : join(place.folder, place.manifest.entry),
  };
}

async function connect(t: TestContext, command: string, ...args: string[]): Promise<Client> {
  const client = new Client({ name: "test", version: "1.0.0" });
  t.after(() => client.close());
  await client.connect(new StdioClientTransport({ command, args, stderr: "ignore", cwd: tmpdir() }));
  return client;
}

test("the clock becomes one file that runs anywhere with plain Node.js", async (t) => {
  const clock = await unpacked(t, join(plugins, "clock"));
  assert.deepEqual(clock.files, ["package.json", "plugin.json", "src/main.js"]);
  const client = await connect(t, process.execPath, clock.entry);
  const { structuredContent } = await client.callTool({
    name: "get_current_time",
    arguments: { timezone: "Asia/Tokyo" },
  });
  assert.match(JSON.stringify(structuredContent), /\+09:00/);
});

/** The files of the SDK for Python as they lie in a package, below `folder`. */
async function pythonSdk(folder = ""): Promise<string[]> {
  const names = await readdir(fileURLToPath(new URL("../../../sdk/python/warren_plugin", import.meta.url)));
  const modules = names.filter((name) => name.endsWith(".py")).sort();
  assert.ok(modules.includes("__init__.py"));
  return modules.map((name) => `${folder}warren_plugin/${name}`);
}

test("the text plugin gets the Python SDK beside its entry point and runs without it anywhere else", async (t) => {
  const text = await unpacked(t, join(plugins, "text"));
  assert.deepEqual(text.files, ["main.py", "plugin.json", "text_tools.py", ...(await pythonSdk())]);
  const client = await connect(t, "python3", "-E", "-s", "-B", text.entry);
  const { structuredContent } = await client.callTool({ name: "word_count", arguments: { text: "one two" } });
  assert.equal((structuredContent as { words: number }).words, 2);
});

test("packing is the same on every run and from every folder", async (t) => {
  const [first, second] = [await packPlugin(join(plugins, "clock")), await packPlugin(join(plugins, "clock"))];
  assert.equal(first.digest, second.digest);
  const elsewhere = await newFolder(t);
  await cp(join(plugins, "clock"), join(elsewhere, "clock"), {
    recursive: true,
    filter: (path) => !path.includes("node_modules"),
  });
  assert.equal((await packPlugin(join(elsewhere, "clock"))).digest, first.digest);
  assert.equal(first.manifest.id, "clock");
  assert.ok(first.manifest.runtime === "node" && first.manifest.entry === "src/main.js");
});

test("a Node.js plugin is bundled with its modules and dependencies, and keeps its data where it looks for it", async (t) => {
  const folder = await pluginFolder(t, {
    "plugin.json": { ...manifest, entry: "src/main.ts", config: { type: "object" } },
    "package.json": { type: "commonjs" },
    "src/main.ts": `
      import { readFileSync } from "node:fs";
      import legacy from "legacy";
      import { helper } from "./helper.ts";
      const text: string = readFileSync(new URL("../data/words.txt", import.meta.url), "utf8");
      const late = await import("./late.ts");
      console.log(JSON.stringify([text, legacy.name, helper(), late.value]));`,
    "src/helper.ts": `export const helper = (): string => "helped";`,
    "src/late.ts": `export const value = 7;`,
    "data/words.txt": "words",
    "node_modules/legacy/package.json": { name: "legacy", main: "index.js" },
    "node_modules/legacy/index.js": `module.exports = { name: require("node:path").basename("/a/legacy") };`,
  });
  const { files, entry } = await unpacked(t, folder);
  assert.deepEqual(files, ["data/words.txt", "package.json", "plugin.json", "src/main.js"]);
  const { execFile } = await import("node:child_process");
  const out = await new Promise((resolve, reject) =>
    execFile(process.execPath, [entry], (error, stdout) => (error ? reject(error) : resolve(stdout))),
  );
  assert.deepEqual(JSON.parse(String(out)), ["words", "legacy", "helped", 7]);
});

test("what does not belong into a package stays out", async (t) => {
  const folder = await pluginFolder(t, {
    "plugin.json": { ...manifest, runtime: "python", entry: "main.py" },
    "main.py": "print()",
    "pkg/mod.py": "",
    ".env": "SECRET=1",
    ".git/config": "",
    "node_modules/x/index.js": "",
    "__pycache__/main.pyc": "",
    "pkg/old.pyc": "",
    "test/main_test.py": "",
    "debug.log": "",
    "README.md": "",
  });
  await chmod(join(folder, "pkg/mod.py"), 0o755);
  const place = await unpacked(t, folder);
  assert.deepEqual(place.files, ["README.md", "main.py", "pkg/mod.py", "plugin.json"]);
});

test("an MCP server keeps its node_modules", async (t) => {
  const folder = await pluginFolder(t, {
    "plugin.json": { ...manifest, runtime: "mcp", entry: undefined, command: ["node", "server.js"] },
    "server.js": `require("dep")`,
    "node_modules/dep/test/index.js": "",
    "node_modules/.bin/dep": "",
  });
  assert.deepEqual((await unpacked(t, folder)).files, ["node_modules/dep/test/index.js", "plugin.json", "server.js"]);
});

test("the Python SDK is added only where it is imported and missing", async (t) => {
  const python = { ...manifest, runtime: "python", entry: "src/main.py" };
  const packed = async (files: Record<string, string>) =>
    (await unpacked(t, await pluginFolder(t, { "plugin.json": python, ...files }))).files;
  const wanted = ["plugin.json", "src/main.py", ...(await pythonSdk("src/"))];
  assert.deepEqual(await packed({ "src/main.py": "from warren_plugin import Plugin" }), wanted);
  assert.deepEqual(await packed({ "src/main.py": "import os, warren_plugin as w" }), wanted);
  assert.deepEqual(await packed({ "src/main.py": "# from warren_plugin import x" }), ["plugin.json", "src/main.py"]);
  const own = await pluginFolder(t, {
    "plugin.json": python,
    "src/main.py": "import warren_plugin",
    "src/warren_plugin.py": "own = 1",
  });
  const { folder } = await unpacked(t, own);
  assert.equal(await readFile(join(folder, "src/warren_plugin.py"), "utf8"), "own = 1");
  const ownPackage = { "src/main.py": "import warren_plugin", "src/warren_plugin/__init__.py": "own = 1" };
  assert.deepEqual(await packed(ownPackage), ["plugin.json", ...Object.keys(ownPackage)]);
});

test("links may not lead out, to folders, or to what is left out", async (t) => {
  const outside = await newFolder(t);
  await writeFile(join(outside, "secret"), "x");
  const links: [string, string, RegExp][] = [
    [join(outside, "secret"), "data.txt", /data\.txt is a link that leads out/],
    ["/etc", "etc", /etc is a link that leads out/],
    ["../../../../etc/passwd", "passwd", /passwd is a link/],
    ["pkg", "alias", /alias is a link to a folder/],
    [".env", "env.txt", /env\.txt is a link to \.env/],
    ["nowhere", "dangling", /dangling is a link to nothing/],
  ];
  for (const [target, name, message] of links) {
    const folder = await pluginFolder(t, {
      "plugin.json": { ...manifest, runtime: "python", entry: "main.py" },
      "main.py": "",
      "pkg/x.py": "",
      ".env": "SECRET=1",
    });
    await symlink(target, join(folder, name));
    await assert.rejects(packPlugin(folder), (error) => error instanceof PackError && message.test(error.message));
    await rm(join(folder, name));
    await symlink("main.py", join(folder, name));
    assert.ok((await unpacked(t, folder)).files.includes(name));
  }
});

test("what cannot be packed is said clearly", async (t) => {
  const cases: [Record<string, string | object>, RegExp][] = [
    [{ "main.ts": "" }, /plugin\.json cannot be read \(ENOENT\)/],
    [{ "plugin.json": manifest }, /main\.ts cannot be bundled/],
    [
      { "plugin.json": manifest, "main.ts": "const a: = 3;" },
      /main\.ts cannot be bundled: .*PARSE_ERROR.*main\.ts:1:10/s,
    ],
    [{ "plugin.json": manifest, "main.ts": 'import "./gone.ts"' }, /Could not resolve '\.\/gone\.ts'/],
    [
      { "plugin.json": manifest, "main.ts": 'import x from "no-such-package"; x();' },
      /imports no-such-package, .*install it/,
    ],
    [
      { "plugin.json": manifest, "main.ts": 'await import("no-such-package");' },
      /imports no-such-package, .*install it/,
    ],
    [{ "plugin.json": manifest, "main.ts": "", "main.js": "" }, /main\.js is where the bundle of main\.ts goes/],
    [
      { "plugin.json": { ...manifest, integrity: { "main.ts": `sha256:${"0".repeat(64)}` } }, "main.ts": "" },
      /integrity pins main\.ts/,
    ],
  ];
  for (const [files, message] of cases) {
    const folder = await pluginFolder(t, files);
    await assert.rejects(packPlugin(folder), (error) => {
      assert.ok(error instanceof PackError, String(error));
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, new RegExp(String.fromCharCode(27)));
      return true;
    });
  }
  await assert.rejects(packPlugin(join(await newFolder(t), "missing")), { code: "ENOENT" });
  const wrong = await pluginFolder(t, { "plugin.json": { ...manifest, entri: "x" } });
  await assert.rejects(
    packPlugin(wrong),
    (error) => error instanceof ManifestError && /did you mean/.test(error.message),
  );
  const python = await pluginFolder(t, { "plugin.json": { ...manifest, runtime: "python", entry: "main.py" } });
  await assert.rejects(
    packPlugin(python),
    (error) => error instanceof PackageError && /main\.py is not among/.test(error.message),
  );
});

test("a folder of more than 64 MiB is refused without being read", async (t) => {
  const folder = await pluginFolder(t, {
    "plugin.json": { ...manifest, runtime: "python", entry: "main.py" },
    "main.py": "",
  });
  await writeFile(join(folder, "model.bin"), "");
  await truncate(join(folder, "model.bin"), 65 * 1024 * 1024);
  await assert.rejects(packPlugin(folder), (error) => error instanceof PackError && /model\.bin/.test(error.message));
});
