// Unmodified MCP servers from npm's registry in the real sandbox. Needs the network and bubblewrap; says so where they are missing.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { StatusCode } from "@warren/mesh";
import { npmEnvironment, npmProgram, nodeProgram } from "../src/config.ts";
import { lazySandbox } from "../src/lifecycle/lazy-sandbox.ts";
import { createBubblewrapSandbox } from "../src/sandbox/sandbox.ts";
import { fails } from "./support/fails.ts";
import { startMesh, type TestMesh, textOf } from "./support/host.ts";

async function startRealHost(t: TestContext): Promise<TestMesh | undefined> {
  const sandbox = lazySandbox(() => createBubblewrapSandbox());
  const missing = await sandbox.check().then(
    () => undefined,
    (error: Error) => error.message,
  );
  if (missing !== undefined) {
    t.skip(missing);
    return undefined;
  }
  // Asked as the host will: by npm, with whatever registry this machine has.
  const asked = spawnSync("npm", ["view", "@modelcontextprotocol/server-everything", "version"], { timeout: 30_000 });
  const reachable = asked.status === 0;
  if (!reachable) {
    t.skip("npm's registry cannot be reached");
    return undefined;
  }
  const mesh = await startMesh(t);
  const { PATH = "", NODE_EXTRA_CA_CERTS, HTTPS_PROXY } = process.env;
  const env = npmEnvironment({ extraCaCerts: NODE_EXTRA_CA_CERTS, httpsProxy: HTTPS_PROXY } as Parameters<
    typeof npmEnvironment
  >[0]);
  await mesh.startHost({
    sandbox,
    npm: { npmPath: npmProgram(PATH), nodePath: nodeProgram(), env, timeoutMs: 120_000 },
    figures: { startTimeoutMs: 20_000, graceMs: 1000, stopMs: 500 },
  });
  return mesh;
}

const mcp = (commandLine: string) => ({ source: { $case: "mcp" as const, value: { commandLine } } });

test("server-everything installs by one command line and answers", async (t) => {
  const mesh = await startRealHost(t);
  if (!mesh) return;
  const plugin = await mesh.plugins.installPlugin(mcp("npx -y @modelcontextprotocol/server-everything"), {
    timeoutMs: 170_000,
  });
  assert.equal(plugin.id, "server-everything");
  assert.equal(plugin.runtime, "mcp");
  const call = (tool: string, args: Record<string, unknown>) =>
    mesh.plugins.callTool({ pluginId: plugin.id, tool, arguments: args });
  assert.match(textOf(await call("echo", { message: "hello" })), /hello/);
  assert.match(textOf(await call("get-sum", { a: 2, b: 3 })), /5/);
  const structured = await call("get-structured-content", { location: "New York" });
  assert.ok(structured.structuredContent && Object.keys(structured.structuredContent).length > 0);
});

test("server-filesystem reads only the folder that it was granted", async (t) => {
  const mesh = await startRealHost(t);
  if (!mesh) return;
  const folder = await realpath(await mkdtemp(join(tmpdir(), "warren-granted-")));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const [docs, other] = [join(folder, "docs"), join(folder, "other")];
  await mkdir(docs);
  await mkdir(other);
  await writeFile(join(docs, "a.txt"), "granted");
  await writeFile(join(other, "b.txt"), "private");
  const request = mcp(`npx -y @modelcontextprotocol/server-filesystem ${docs} ${other}`);
  const plugin = await mesh.plugins.installPlugin({ ...request, grants: [`fs:read:${docs}`] }, { timeoutMs: 170_000 });
  const call = (tool: string, args: Record<string, unknown>) =>
    mesh.plugins.callTool({ pluginId: plugin.id, tool, arguments: args });
  assert.equal(textOf(await call("read_text_file", { path: join(docs, "a.txt") })), "granted");
  assert.match(textOf(await call("list_directory", { path: docs })), /a\.txt/);
  assert.match(textOf(await call("get_file_info", { path: join(docs, "a.txt") })), /size/);
  assert.equal((await call("read_text_file", { path: join(other, "b.txt") })).isError, true);
  assert.equal((await call("read_text_file", { path: "/etc/passwd" })).isError, true);
  assert.equal((await call("write_file", { path: join(docs, "a.txt"), content: "changed" })).isError, true);
});

test("a package that does not exist is refused with npm's reason", async (t) => {
  const mesh = await startRealHost(t);
  if (!mesh) return;
  const request = mcp("npx -y @modelcontextprotocol/server-everything@999.0.0");
  await assert.rejects(
    mesh.plugins.installPlugin(request, { timeoutMs: 60_000 }),
    fails(StatusCode.FAILED_PRECONDITION, /npm could not fetch/, "PACKAGE_REFUSED"),
  );
});
