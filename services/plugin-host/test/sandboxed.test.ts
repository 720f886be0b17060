// The whole host with the real sandbox: what a hostile plugin tries, its caller is told, and the plugin beside it does not notice.
import assert from "node:assert/strict";
import { mkdtemp, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { StatusCode } from "@warren/mesh";
import { packFolder } from "@warren/plugin-manifest";
import { PluginState } from "@warren/proto/warren/plugins/v1/plugins";
import { lazySandbox } from "../src/lifecycle/lazy-sandbox.ts";
import { createBubblewrapSandbox } from "../src/sandbox/sandbox.ts";
import { fails } from "./support/fails.ts";
import { ofDigest, startMesh, type TestMesh, textOf } from "./support/host.ts";
import { until } from "./support/until.ts";

async function startSandboxed(t: TestContext): Promise<TestMesh | undefined> {
  const sandbox = lazySandbox(() => createBubblewrapSandbox());
  const missing = await sandbox.check().then(
    () => undefined,
    (error: Error) => error.message,
  );
  if (missing !== undefined) {
    t.skip(missing);
    return undefined;
  }
  const mesh = await startMesh(t);
  await mesh.startHost({ sandbox, figures: { startTimeoutMs: 10_000, graceMs: 500, stopMs: 500 } });
  return mesh;
}

test("a plugin in the sandbox sees neither the host's files, environment, network nor processes", async (t) => {
  const mesh = await startSandboxed(t);
  if (!mesh) return;
  const listener = createServer((socket) => socket.end()).listen(0, "127.0.0.1");
  t.after(() => listener.close());
  await new Promise((resolve) => listener.once("listening", resolve));
  process.env["WARREN_TEST_CANARY"] = "canary";
  t.after(() => delete process.env["WARREN_TEST_CANARY"]);
  await mesh.plugins.installPlugin(ofDigest(await mesh.upload({})));
  const call = (tool: string, args = {}) => mesh.plugins.callTool({ pluginId: "tester", tool, arguments: args });

  assert.equal(textOf(await call("echo", { text: "inside" })), "inside");
  const passwd = await call("read", { path: "/etc/passwd" });
  assert.ok(passwd.isError || textOf(passwd) !== (await readFile("/etc/passwd", "utf8")));
  assert.equal((await call("read", { path: "/etc/shadow" })).isError, true);
  assert.ok(!textOf(await call("env")).includes("canary"));
  const { port } = listener.address() as { port: number };
  assert.equal((await call("connect", { port })).isError, true);
  assert.ok(Number(textOf(await call("processes"))) < 10);
  assert.equal((await call("write", { path: "/plugin/server.mjs" })).isError, true);
  assert.equal((await call("write", { path: "/written" })).isError, true);
  assert.equal((await call("write", { path: "/tmp/written" })).isError, false);
});

test("a plugin that takes too much memory is ended, its caller is told, and the other one does not notice", async (t) => {
  const mesh = await startSandboxed(t);
  if (!mesh) return;
  await mesh.plugins.installPlugin(
    ofDigest(await mesh.upload({ id: "glutton", limits: { memoryBytes: 192 * 1024 * 1024 } })),
  );
  await mesh.plugins.installPlugin(ofDigest(await mesh.upload({ id: "bystander" })));
  const neighbour = mesh.plugins.callTool({ pluginId: "bystander", tool: "slow", arguments: { ms: 1000 } });
  await assert.rejects(
    mesh.plugins.callTool({ pluginId: "glutton", tool: "grow" }),
    fails(StatusCode.RESOURCE_EXHAUSTED, /Plugin glutton exceeded its memory limit of 192 MiB/, "PLUGIN_OUT_OF_MEMORY"),
  );
  assert.equal(textOf(await neighbour), "slept");
  assert.equal((await mesh.plugins.callTool({ pluginId: "glutton", tool: "echo" })).isError, false, "it is back");
});

test("a plugin that spins for ever is ended at its own time limit and comes back", async (t) => {
  const mesh = await startSandboxed(t);
  if (!mesh) return;
  await mesh.plugins.installPlugin(ofDigest(await mesh.upload({ limits: { callTimeoutMs: 500 } })));
  await assert.rejects(
    mesh.plugins.callTool({ pluginId: "tester", tool: "spin" }),
    fails(StatusCode.DEADLINE_EXCEEDED, /tool spin did not answer in 500 ms/, "PLUGIN_TIMEOUT"),
  );
  await until("it was restarted", async () => {
    const { restarts, state } = await mesh.plugins.getPlugin({ id: "tester" });
    return restarts === 1 && state === PluginState.RUNNING;
  });
  assert.equal((await mesh.plugins.callTool({ pluginId: "tester", tool: "echo" })).isError, false);
});

test("granted folders appear at their own paths, writable only where that was granted", async (t) => {
  const mesh = await startSandboxed(t);
  if (!mesh) return;
  const [readable, writable] = await Promise.all(
    ["r", "w"].map(async (name) => realpath(await mkdtemp(join(tmpdir(), `warren-${name}-`)))),
  );
  assert.ok(readable && writable);
  t.after(() => Promise.all([readable, writable].map((folder) => rm(folder, { recursive: true, force: true }))));
  await writeFile(join(readable, "a"), "granted");
  const digest = await mesh.upload({});
  await mesh.plugins.installPlugin({ ...ofDigest(digest), grants: [`fs:read:${readable}`, `fs:write:${writable}`] });
  const call = (tool: string, path: string) => mesh.plugins.callTool({ pluginId: "tester", tool, arguments: { path } });
  assert.equal(textOf(await call("read", join(readable, "a"))), "granted");
  assert.equal((await call("write", join(readable, "b"))).isError, true);
  assert.equal((await call("write", join(writable, "b"))).isError, false);
  assert.equal(await readFile(join(writable, "b"), "utf8"), "written");
});

test("host calls reach a plugin in the sandbox", async (t) => {
  const mesh = await startSandboxed(t);
  if (!mesh) return;
  const permissions = { optional: ["secrets:lease:db.password"] };
  await mesh.plugins.installPlugin(ofDigest(await mesh.upload({ flags: ["--host-channel"], permissions })));
  const answer = textOf(
    await mesh.plugins.callTool({ pluginId: "tester", tool: "lease", arguments: { name: "db.password" } }),
  );
  assert.match(answer, /PERMISSION_DENIED/);
});

test("a Python plugin runs, with modules beside its entry", async (t) => {
  const mesh = await startSandboxed(t);
  if (!mesh) return;
  const source = `
import json, sys
from beside import greeting
for line in sys.stdin:
    message = json.loads(line)
    method, answer = message.get("method"), None
    if method == "initialize":
        answer = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "py", "version": "1"}}
    elif method == "tools/list":
        answer = {"tools": [{"name": "greet", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call":
        answer = {"content": [{"type": "text", "text": greeting}]}
    if answer is not None:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": answer}), flush=True)
`;
  const manifest = {
    id: "py",
    version: "1.0.0",
    name: "py",
    description: "For tests",
    runtime: "python",
    entry: "main.py",
  };
  const { bytes, digest } = await packFolder([
    { path: "plugin.json", bytes: Buffer.from(JSON.stringify(manifest)) },
    { path: "main.py", bytes: Buffer.from(source) },
    { path: "beside.py", bytes: Buffer.from('greeting = "hello from Python: ü"') },
  ]);
  await (await mesh.caller.objects("plugin_packages")).put(digest.slice(7), bytes);
  await mesh.plugins.installPlugin(ofDigest(digest));
  assert.equal(textOf(await mesh.plugins.callTool({ pluginId: "py", tool: "greet" })), "hello from Python: ü");
});
