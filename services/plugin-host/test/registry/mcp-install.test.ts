// npm itself is a small program here, so that what it is given and what comes of its answers can be seen without a network.
import assert from "node:assert/strict";
import { chmod, mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { unpackInto } from "@warren/plugin-manifest";
import { parseNpx } from "../../src/registry/command-line.ts";
import { installMcp, McpInstallFailed, type NpmOptions } from "../../src/registry/mcp-install.ts";

/** An npm that runs `script` with `root` (its prefix), `args` and helpers to write packages. */
async function fakeNpm(t: TestContext, script: string): Promise<{ npm: NpmOptions; folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), "warren-test-npm-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const npmPath = join(folder, "npm.js");
  await writeFile(
    npmPath,
    `const fs = require("node:fs"), path = require("node:path");
     const args = process.argv.slice(2), root = args[args.indexOf("--prefix") + 1];
     const write = (file, text) => { const at = path.join(root, "node_modules", file); fs.mkdirSync(path.dirname(at), { recursive: true }); fs.writeFileSync(at, text); };
     ${script}`,
  );
  await chmod(npmPath, 0o755);
  return { npm: { npmPath, nodePath: await realpath(process.execPath), env: { EXTRA: "1" }, timeoutMs: 5000 }, folder };
}

const server = `write("@scope/my.Server/package.json".toLowerCase(), JSON.stringify({ version: "1.2.3", description: "Serves", bin: { other: "x.js", "my.server": "dist/index.js" } }));
  write("@scope/my.server/dist/index.js", "#!/usr/bin/env node\\nserve()");
  write("dep/index.js", "1");`;
const never = new AbortController().signal;

test("a package becomes a plugin that runs its program with Node.js, and the same one gives the same digest", async (t) => {
  const { npm, folder } = await fakeNpm(
    t,
    `${server} fs.mkdirSync(path.join(root, "node_modules/.bin")); fs.symlinkSync("../dep/index.js", path.join(root, "node_modules/.bin/dep")); write(".package-lock.json", String(Math.random()));`,
  );
  const command = parseNpx("npx -y @scope/my.server@1.2.3 /srv/docs 'a b'");
  const made = await installMcp(command, undefined, npm, never);
  const { manifest } = made;
  assert.equal(manifest.id, "my-server");
  assert.equal(manifest.version, "1.2.3");
  assert.deepEqual(manifest.runtime === "mcp" && manifest.command, [
    "/runtime/node",
    "/plugin/node_modules/@scope/my.server/dist/index.js",
    "/srv/docs",
    "a b",
  ]);
  assert.equal((await installMcp(command, undefined, npm, never)).digest, made.digest);
  assert.equal((await installMcp(command, "other", npm, never)).manifest.id, "other");
  const store = join(folder, "store");
  const unpacked = await unpackInto(made.bytes, made.digest, store);
  assert.equal(await readFile(join(unpacked.folder, "node_modules/dep/index.js"), "utf8"), "1");
  assert.deepEqual((await readdir(join(unpacked.folder, "node_modules"))).toSorted(), ["@scope", "dep"]);
  for (const path of [
    join(unpacked.folder, "node_modules/@scope/my.server/dist"),
    join(unpacked.folder, "node_modules/@scope/my.server"),
    join(unpacked.folder, "node_modules/@scope"),
    join(unpacked.folder, "node_modules/dep"),
    join(unpacked.folder, "node_modules"),
    unpacked.folder,
  ])
    await chmod(path, 0o700);
});

test("npm runs no scripts, without a shell, in an environment of its own", async (t) => {
  process.env["WARREN_TEST_CANARY"] = "canary";
  t.after(() => delete process.env["WARREN_TEST_CANARY"]);
  const { npm, folder } = await fakeNpm(
    t,
    `${server} fs.writeFileSync(path.join(__dirname, "seen.json"), JSON.stringify({ args, env: process.env, root }));`,
  );
  await installMcp(parseNpx("npx -y @scope/my.server '$(id)'"), undefined, npm, never);
  const seen = JSON.parse(await readFile(join(folder, "seen.json"), "utf8")) as {
    args: string[];
    env: Record<string, string>;
    root: string;
  };
  assert.ok(seen.args.includes("--ignore-scripts"));
  assert.deepEqual(seen.args.slice(-2), ["--", "@scope/my.server"]);
  // Node.js itself hands NODE_V8_COVERAGE on to its children when coverage is measured.
  const names = Object.keys(seen.env).filter((name) => name !== "NODE_V8_COVERAGE");
  assert.deepEqual(names.toSorted(), ["EXTRA", "HOME", "PATH"]);
  await assert.rejects(readdir(seen.root), { code: "ENOENT" }, "its folder is removed");
});

const refusals: [what: string, script: string, pattern: RegExp][] = [
  [
    "npm's failure, with its reason",
    'console.error("npm error code E404\\nnpm error 404 Not Found - a"); process.exit(1);',
    /could not fetch a: 404 Not Found/,
  ],
  ["a library without a program", 'write("a/package.json", "{}");', /it is a library/],
  [
    "several programs, none of them its own",
    'write("a/package.json", JSON.stringify({ bin: { x: "x.js", y: "y.js" } }));',
    /several programs \(x, y\)/,
  ],
  [
    "a program outside of the package",
    'write("a/package.json", JSON.stringify({ bin: "../../x.js" })); write("../x.js", "");',
    /outside of itself/,
  ],
  [
    "a program that is a link to elsewhere",
    'write("a/package.json", JSON.stringify({ bin: "x.js" })); fs.symlinkSync("/etc/passwd", path.join(root, "node_modules/a/x.js"));',
    /lacks its program/,
  ],
  [
    "a program that is a shell script",
    'write("a/package.json", JSON.stringify({ bin: "x.js" })); write("a/x.js", "#!/bin/sh\\nexit");',
    /not a Node\.js program/,
  ],
  ["a missing program", 'write("a/package.json", JSON.stringify({ bin: "x.js" }));', /lacks its program/],
];

for (const [what, script, pattern] of refusals)
  test(`${what} is refused`, async (t) => {
    const { npm } = await fakeNpm(t, script);
    await assert.rejects(
      installMcp(parseNpx("npx -y a"), undefined, npm, never),
      (error: unknown) => error instanceof McpInstallFailed && pattern.test(error.message),
    );
  });

test("an npm that does not end is ended with all it started", async (t) => {
  const { npm, folder } = await fakeNpm(
    t,
    'const child = require("node:child_process").spawn("/bin/sleep", ["60"]); fs.writeFileSync(path.join(__dirname, "pid"), String(child.pid)); setTimeout(() => {}, 60000);',
  );
  await assert.rejects(
    installMcp(parseNpx("npx -y a"), undefined, { ...npm, timeoutMs: 500 }, never),
    /within the time/,
  );
  const pid = Number(await readFile(join(folder, "pid"), "utf8"));
  await assert.rejects(async () => {
    for (let tries = 0; tries < 200; tries++) {
      process.kill(pid, 0);
      if ((await readFile(`/proc/${pid}/stat`, "utf8")).includes(" Z ")) throw new Error("a zombie");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  });
});

test("a missing npm is named", async () => {
  const npm = { npmPath: process.execPath, nodePath: "/nonexistent/node", env: {}, timeoutMs: 1000 };
  await assert.rejects(installMcp(parseNpx("npx -y a"), undefined, npm, never), McpInstallFailed);
});
