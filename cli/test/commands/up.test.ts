import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { json, startFakeGateway } from "../support/fake-gateway.ts";
import { makeHome } from "../support/warren.ts";

const main = fileURLToPath(new URL("../support/main-with-fake-parts.ts", import.meta.url));

for (const signal of ["SIGINT", "SIGTERM"] as const)
  test(`it says where it runs, and ${signal} stops it in order`, async (t) => {
    const home = await makeHome(t);
    const started = home.start(["up", "--port", "4567", "--plugin-hosts", "2"], { main });
    await started.says("Ctrl-C stops everything");
    started.child.kill(signal);
    const { code, stdout, stderr } = await started.ended;
    assert.equal(code, 0);
    assert.match(stdout, /Warren runs at http:\/\/127\.0\.0\.1:4567/);
    assert.ok(stdout.includes(join(home.dataDir, "operator-token")));
    assert.match(stderr, /starting with 2 plugin hosts/);
    assert.match(stderr, /draining\nstopped\n$/);
  });

test("the environment gives the settings that options do not", async (t) => {
  const home = await makeHome(t);
  const env = { WARREN_HTTP_PORT: "4568", WARREN_PLUGIN_HOSTS: "3" };
  const started = home.start(["up", "--data-dir", "elsewhere", "--json"], { main, env });
  await started.says("curl");
  started.child.kill("SIGINT");
  const { stdout, stderr } = await started.ended;
  const document = JSON.parse(stdout) as Record<string, unknown>;
  assert.equal(document["url"], "http://127.0.0.1:4568");
  assert.equal(document["operatorTokenFile"], join(home.folder, "elsewhere", "operator-token"));
  assert.match(stderr, /3 plugin hosts/);
});

test("a second signal ends a stop that hangs", async (t) => {
  const home = await makeHome(t);
  const started = home.start(["up", "--plugin-hosts", "64"], { main });
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

test("settings out of bounds are named", async (t) => {
  const home = await makeHome(t);
  const { code, stderr } = await home.warren(["up", "--port", "70000"], { main });
  assert.equal(code, 2);
  assert.match(stderr, /--port is "70000"/);
});

test("the curl line works as pasted, whatever the folder is called, and keeps the token out of its arguments", async (t) => {
  const gateway = await startFakeGateway(t, { "POST /v1/chat": json({ message: "Hello!" }) });
  const home = await makeHome(t);
  const dataDir = join(home.folder, "it's a folder");
  await mkdir(dataDir);
  await writeFile(join(dataDir, "operator-token"), "operator-1\n");
  const words = ["up", "--port", String(gateway.port), "--data-dir", dataDir, "--json"];
  const started = home.start(words, { main });
  await started.says("curl");
  started.child.kill("SIGINT");
  const { curl } = JSON.parse((await started.ended).stdout) as { curl: string };
  assert.doesNotMatch(curl, /operator-1|\$\(/);
  const { stdout } = await promisify(execFile)("sh", ["-c", curl]);
  assert.deepEqual(JSON.parse(stdout), { message: "Hello!" });
  assert.equal(gateway.requests[0]?.headers.authorization, "Bearer operator-1");
  assert.deepEqual(gateway.bodies("POST /v1/chat"), [{ message: "Hello!" }]);
});
