import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { userInfo } from "node:os";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { type Answer, startStack, waitUntil } from "@warren/testing";

const HOSTILE = fileURLToPath(new URL("../fixtures/hostile", import.meta.url));

test("a hostile plugin", async (t) => {
  const stack = await startStack(t, { env: { WARREN_TEST_CANARY: "host-environment-canary" } });
  const added = await stack.warren(["plugin", "add", HOSTILE, "--yes", "--json"]);
  assert.equal(added.code, 0, added.stderr);
  const call = (tool: string, args: object = {}): Promise<Answer> =>
    stack.request("POST", `/v1/plugins/hostile/tools/${tool}:call`, { body: { arguments: args } });
  const said = async (tool: string, args: object = {}): Promise<string> => {
    const answer = await call(tool, args);
    assert.equal(answer.status, 200, answer.text);
    return String(answer.json["content"]?.[0]?.["text"]);
  };
  const running = (): Promise<true> =>
    waitUntil("the plugin's return", 10_000, async () =>
      (await call("environment")).status === 200 ? true : undefined,
    );

  // Another plugin is called all the while: it must not notice.
  const neighbour = { calls: 0, failures: [] as string[], running: true };
  const calling = (async () => {
    while (neighbour.running) {
      const answer = await stack
        .request("POST", "/v1/plugins/clock/tools/get_current_time:call", { body: { arguments: {} } })
        .catch((error: unknown) => ({ status: 0, text: String(error) }));
      neighbour.calls += 1;
      if (answer.status !== 200) neighbour.failures.push(answer.text);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();

  t.after(async () => {
    neighbour.running = false;
    await calling;
  });

  await t.test("does not see the host's files", async () => {
    const passwd = await said("read", { path: "/etc/passwd" });
    assert.ok(!passwd.includes(readFileSync("/etc/passwd", "utf8").trim().split("\n").at(-1) ?? "?"), passwd);
    for (const path of [
      userInfo().homedir,
      `${stack.dataDir}/operator-token`,
      "/proc/1/root/etc/hostname",
      "/etc/shadow",
    ])
      assert.match(await said("read", { path }), /^denied/, path);
  });
  await t.test("does not see the host's environment", async () => {
    const environment = await said("environment");
    assert.doesNotMatch(environment, /WARREN|canary|operator/i);
  });
  await t.test("does not see the host's processes", async () => {
    const processes = await said("processes");
    assert.doesNotMatch(processes, /nats-server|redis-server|services\//);
  });
  await t.test("opens no TCP connection", async () => {
    const server = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    let connections = 0;
    server.on("connection", () => (connections += 1));
    const { port } = server.address() as { port: number };
    assert.match(await said("connect", { port }), /^denied/);
    assert.equal(connections, 0);
  });
  await t.test("writes nowhere but its own /tmp", async () => {
    for (const path of ["/plugin/owned", "/etc/owned", "/usr/owned", "/owned", "/dev/owned", "/run/owned"])
      assert.match(await said("write", { path }), /^denied/, path);
    assert.equal(await said("write", { path: "/tmp/warren-owned" }), "wrote");
    assert.equal(existsSync("/tmp/warren-owned"), false);
    assert.match(await said("remount"), /^denied/);
  });
  await t.test("that takes 1 GiB is stopped, its caller is told why, and it comes back", async () => {
    const answer = await call("allocate");
    assert.equal(answer.status, 429, answer.text);
    assert.match(String(answer.json["detail"]), /memory limit of 128 MiB/);
    await running();
  });
  await t.test("that spins for ever is stopped, its caller is told why, and it comes back", async () => {
    const started = performance.now();
    const answer = await call("spin");
    assert.equal(answer.status, 504, answer.text);
    assert.match(String(answer.json["detail"]), /hostile.*spin/);
    assert.ok(performance.now() - started < 15_000);
    await running();
  });

  neighbour.running = false;
  await calling;
  await t.test("disturbs no other plugin", () => {
    assert.deepEqual(neighbour.failures, []);
    assert.ok(neighbour.calls > 20, `${neighbour.calls} calls`);
  });
});
