import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  deadAddress,
  type FakeGateway,
  json,
  sendJson,
  sendProblem,
  startFakeGateway,
} from "../support/fake-gateway.ts";
import { makeHome } from "../support/warren.ts";

const digest = `sha256:${"a".repeat(64)}`;
const main = fileURLToPath(new URL("../support/main-with-fake-parts.ts", import.meta.url));

for (const signal of ["SIGINT", "SIGTERM"] as const)
  test(`it says where it runs, and ${signal} stops it in order`, async (t) => {
    const { url, port } = await meshWithPlugins(t);
    const home = await makeHome(t);
    const started = home.start(["up", "--port", String(port), "--plugin-hosts", "2"], { main });
    await started.says("Ctrl-C stops everything");
    started.child.kill(signal);
    const { code, stdout, stderr } = await started.ended;
    assert.equal(code, 0);
    assert.ok(stdout.includes(`Warren runs at ${url}, and speaks gRPC at 127.0.0.1:8081`));
    assert.ok(stdout.includes(join(home.dataDir, "operator-token")));
    assert.match(stderr, /starting with 2 plugin hosts/);
    assert.match(stderr, /draining\nstopped\n$/);
  });

test("the environment gives the settings that options do not", async (t) => {
  const { url, port } = await meshWithPlugins(t);
  const home = await makeHome(t);
  const env = { WARREN_HTTP_PORT: String(port), WARREN_GRPC_PORT: "9081", WARREN_PLUGIN_HOSTS: "3" };
  const started = home.start(["up", "--data-dir", "elsewhere", "--json"], { main, env });
  await started.says("curl");
  started.child.kill("SIGINT");
  const { stdout, stderr } = await started.ended;
  const document = JSON.parse(stdout) as Record<string, unknown>;
  assert.equal(document["url"], url);
  assert.equal(document["grpcAddress"], "127.0.0.1:9081");
  assert.equal(document["operatorTokenFile"], join(home.folder, "elsewhere", "operator-token"));
  assert.match(stderr, /3 plugin hosts/);
});

test("a second signal ends a stop that hangs", async (t) => {
  const { port } = await meshWithPlugins(t);
  const home = await makeHome(t);
  const started = home.start(["up", "--port", String(port), "--plugin-hosts", "64"], { main });
  await started.says("Ctrl-C stops everything");
  started.child.kill("SIGINT");
  await started.says("draining");
  started.child.kill("SIGINT");
  assert.equal((await started.ended).code, 130);
});

test("a stack that does not start ends with 1 and its reason, without a stack trace", async (t) => {
  const home = await makeHome(t);
  const { code, stderr } = await home.warren(["up", "--port", "9999"], { main });
  assert.equal(code, 1);
  assert.match(stderr, /error: the mesh did not start: port 9999 is in use\n.*warren doctor/);
  assert.doesNotMatch(stderr, /at .*\.ts:\d+/);
});

test("a mesh that cannot be used is stopped again, and nothing is left running", async (t) => {
  const home = await makeHome(t);
  const { port } = new URL(await deadAddress());
  const { code, stdout, stderr } = await home.warren(["up", "--port", port], { main });
  assert.equal(code, 3);
  assert.equal(stdout, "");
  assert.match(stderr, /draining\nstopped\nerror: cannot reach a gateway/);
});

test("a new mesh is given its first plugins; one that cannot be installed is told and does not stop it", async (t) => {
  let installs = 0;
  const gateway = await startFakeGateway(t, {
    "GET /v1/plugins": json({ plugins: [] }),
    "POST /v1/packages": json({ digest, size: 1 }),
    "POST /v1/plugins": (_request, response) => {
      installs += 1;
      if (installs === 1) sendJson(response, {});
      else sendProblem(response, 400, "FAILED_PRECONDITION", "there is no python3");
    },
  });
  const home = await makeHome(t);
  const started = home.start(["up", "--port", String(gateway.port)], { main });
  await started.says("Ctrl-C stops everything");
  started.child.kill("SIGINT");
  const { code, stderr } = await started.ended;
  assert.equal(code, 0);
  assert.match(stderr, /the plugin text is not installed: there is no python3/);
  const install = { packageDigest: digest, replace: true };
  assert.deepEqual(gateway.bodies("POST /v1/plugins"), [install, install]);
  assert.equal(gateway.requests[0]?.headers.authorization, "Bearer operator-1");
});

test("settings out of bounds are named", async (t) => {
  const home = await makeHome(t);
  const { code, stderr } = await home.warren(["up", "--port", "70000"], { main });
  assert.equal(code, 2);
  assert.match(stderr, /--port is "70000"/);
});

test("the curl line works as pasted, whatever the folder is called, and keeps the token out of its arguments", async (t) => {
  const gateway = await meshWithPlugins(t);
  const home = await makeHome(t);
  const dataDir = join(home.folder, "it's a folder");
  const words = ["up", "--port", String(gateway.port), "--data-dir", dataDir, "--json"];
  const started = home.start(words, { main });
  await started.says("curl");
  started.child.kill("SIGINT");
  const { curl } = JSON.parse((await started.ended).stdout) as { curl: string };
  assert.doesNotMatch(curl, /operator-1|\$\(/);
  const { stdout } = await promisify(execFile)("sh", ["-c", curl]);
  assert.deepEqual(JSON.parse(stdout), { message: "Hello!" });
  assert.equal(gateway.requests.at(-1)?.headers.authorization, "Bearer operator-1");
  assert.deepEqual(gateway.bodies("POST /v1/chat"), [{ message: "Hello!" }]);
});

/** What answers where the fake stack says it runs: a mesh that has the first-party plugins already. */
async function meshWithPlugins(t: TestContext): Promise<FakeGateway> {
  const plugins = await Promise.all(
    ["clock", "text"].map(async (id) => {
      const manifest = new URL(`../../../plugins/${id}/plugin.json`, import.meta.url);
      return { id, version: (JSON.parse(await readFile(manifest, "utf8")) as { version: string }).version };
    }),
  );
  return startFakeGateway(t, { "GET /v1/plugins": json({ plugins }), "POST /v1/chat": json({ message: "Hello!" }) });
}
