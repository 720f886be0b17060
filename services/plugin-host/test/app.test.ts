import assert from "node:assert/strict";
import { test } from "node:test";
import { jsonCodec, protoCodec, StatusCode } from "@warren/mesh";
import { PluginInstalled, PluginRemoved, PluginStateChanged } from "@warren/proto/warren/events/v1/events";
import { PluginState, PluginStatus } from "@warren/proto/warren/plugins/v1/plugins";
import type { Member } from "../src/placement/members.ts";
import { fails } from "./support/fails.ts";
import { ofDigest, startMesh, textOf } from "./support/host.ts";
import { until } from "./support/until.ts";

test("an uploaded package is installed, listed, called and removed, and every step is told as an event", async (t) => {
  const mesh = await startMesh(t);
  const { mesh: own } = await mesh.startHost();
  const events: string[] = [];
  await mesh.caller.subscribe(
    PluginInstalled,
    ({ pluginId, principal }) => void events.push(`installed ${pluginId} ${principal}`),
  );
  await mesh.caller.subscribe(PluginRemoved, ({ pluginId }) => void events.push(`removed ${pluginId}`));
  await mesh.caller.subscribe(
    PluginStateChanged,
    ({ pluginId, state, hostId }) => void (hostId === own.instanceId && events.push(`${pluginId} ${state}`)),
  );

  const digest = await mesh.upload({});
  const plugin = await mesh.plugins.installPlugin(ofDigest(digest));
  assert.equal(plugin.state, PluginState.RUNNING);
  assert.equal(plugin.packageDigest, digest);
  assert.equal(plugin.runningHosts, 1);
  assert.ok(plugin.tools.some(({ name }) => name === "echo"));

  const called = await mesh.plugins.callTool({
    pluginId: "tester",
    tool: "echo",
    arguments: { text: "over the mesh" },
  });
  assert.equal(textOf(called), "over the mesh");
  const { plugins, nextPageToken } = await mesh.plugins.listPlugins({});
  assert.deepEqual(
    plugins.map(({ id }) => id),
    ["tester"],
  );
  assert.equal(nextPageToken, "");
  const { lines } = await mesh.plugins.getPluginLogs({ id: "tester" });
  assert.ok(
    lines.some(({ text, hostId, source }) => /runs, with/.test(text) && hostId === own.instanceId && source === "host"),
  );

  await mesh.plugins.removePlugin({ id: "tester" });
  await assert.rejects(mesh.plugins.getPlugin({ id: "tester" }), fails(StatusCode.NOT_FOUND, /No plugin tester/));
  await until(
    "its process ends",
    async () =>
      (await mesh.plugins
        .callTool({ pluginId: "tester", tool: "echo" })
        .catch((error: { code: number }) => error.code)) === StatusCode.NOT_FOUND,
  );
  const objects = await own.objects("plugin_packages");
  await until("its package is collected", async () => !(await objects.has(digest.slice(7))));
  await until("all is told", () =>
    ["installed tester service:gateway", "removed tester", "tester RUNNING", "tester STOPPED"].every((each) =>
      events.includes(each),
    ),
  );
});

test("what is not there, not uploaded or not allowed is refused, and leaves nothing behind", async (t) => {
  const mesh = await startMesh(t);
  await mesh.startHost();
  const { plugins } = mesh;
  const missing = `sha256:${"0".repeat(64)}`;
  await assert.rejects(
    plugins.callTool({ pluginId: "nobody", tool: "echo" }),
    fails(StatusCode.NOT_FOUND, /No plugin nobody/),
  );
  await assert.rejects(plugins.removePlugin({ id: "nobody" }), fails(StatusCode.NOT_FOUND, /No plugin nobody/));
  await assert.rejects(
    plugins.installPlugin(ofDigest(missing)),
    fails(StatusCode.FAILED_PRECONDITION, /is not in the mesh/, "PACKAGE_MISSING"),
  );
  await assert.rejects(
    plugins.installPlugin({}),
    fails(StatusCode.INVALID_ARGUMENT, /packageDigest or mcp is required/),
  );
  await assert.rejects(
    plugins.installPlugin({ source: { $case: "mcp", value: { commandLine: "npx -y x; rm -rf /" } } }),
    fails(StatusCode.INVALID_ARGUMENT, /No shell reads/),
  );
  await assert.rejects(
    plugins.installPlugin({ source: { $case: "mcp", value: { commandLine: "uvx mcp-server-git" } } }),
    fails(StatusCode.FAILED_PRECONDITION, /uvx/),
  );

  const digest = await mesh.upload({ permissions: { required: ["fs:read:/srv/docs"] } });
  const request = ofDigest(digest);
  await assert.rejects(
    plugins.installPlugin(request),
    fails(StatusCode.FAILED_PRECONDITION, /not granted: fs:read:\/srv\/docs/, "GRANTS_REFUSED"),
  );
  await assert.rejects(
    plugins.installPlugin({ ...request, grants: ["fs:read:/srv/docs", "net:outbound:example.com"] }),
    fails(StatusCode.FAILED_PRECONDITION, /no network/),
  );
  await assert.rejects(
    plugins.installPlugin({ ...request, grants: ["nonsense"] }),
    fails(StatusCode.INVALID_ARGUMENT, /nonsense/),
  );
  await assert.rejects(
    plugins.installPlugin({ ...request, config: { a: 1 } }),
    fails(StatusCode.FAILED_PRECONDITION, /configuration/),
  );

  const broken = await mesh.upload({ flags: ["--exit"] });
  await assert.rejects(
    plugins.installPlugin(ofDigest(broken)),
    fails(StatusCode.FAILED_PRECONDITION, /did not come up: exited with code 3.*no licence/, "PLUGIN_FAILED"),
  );
  assert.deepEqual((await plugins.listPlugins({})).plugins, []);
});

test("an id in use is refused; with replace the new version runs, and one that does not come up gives way to the old", async (t) => {
  const mesh = await startMesh(t);
  await mesh.startHost();
  const first = await mesh.upload({});
  await mesh.plugins.installPlugin(ofDigest(first));
  await assert.rejects(
    mesh.plugins.installPlugin(ofDigest(first)),
    fails(StatusCode.ALREADY_EXISTS, /installed already/),
  );
  const second = await mesh.upload({ version: "2.0.0" });
  const replaced = await mesh.plugins.installPlugin({ ...ofDigest(second), replace: true });
  assert.equal(replaced.version, "2.0.0");
  const broken = await mesh.upload({ version: "3.0.0", flags: ["--exit"] });
  await assert.rejects(
    mesh.plugins.installPlugin({ ...ofDigest(broken), replace: true }),
    fails(StatusCode.FAILED_PRECONDITION, /did not come up/),
  );
  await until(
    "the old one runs again",
    async () => (await mesh.plugins.getPlugin({ id: "tester" })).state === PluginState.RUNNING,
  );
  assert.equal((await mesh.plugins.getPlugin({ id: "tester" })).version, "2.0.0");
  assert.equal(
    textOf(await mesh.plugins.callTool({ pluginId: "tester", tool: "echo", arguments: { text: "still" } })),
    "still",
  );
});

test("the same package can be installed under several ids, listed by pages", async (t) => {
  const mesh = await startMesh(t);
  await mesh.startHost();
  const digest = await mesh.upload({});
  for (const id of ["a", "b", "c"]) await mesh.plugins.installPlugin({ id, ...ofDigest(digest) });
  const page = await mesh.plugins.listPlugins({ pageSize: 2 });
  assert.deepEqual(
    page.plugins.map(({ id }) => id),
    ["a", "b"],
  );
  const rest = await mesh.plugins.listPlugins({ pageSize: 2, pageToken: page.nextPageToken });
  assert.deepEqual(
    rest.plugins.map(({ id }) => id),
    ["c"],
  );
  assert.equal(rest.nextPageToken, "");
  await assert.rejects(
    mesh.plugins.listPlugins({ pageToken: "*" + "x".repeat(40) }),
    fails(StatusCode.INVALID_ARGUMENT, /pageToken/),
  );
  await mesh.plugins.removePlugin({ id: "a" });
  assert.equal(
    textOf(await mesh.plugins.callTool({ pluginId: "b", tool: "echo", arguments: { text: "kept" } })),
    "kept",
  );
});

test("a plugin that crashes is back within seconds, and the others do not notice", async (t) => {
  const mesh = await startMesh(t);
  await mesh.startHost();
  await mesh.plugins.installPlugin({ ...ofDigest(await mesh.upload({ id: "victim" })) });
  await mesh.plugins.installPlugin({ ...ofDigest(await mesh.upload({ id: "bystander" })) });
  const neighbour = mesh.plugins.callTool({ pluginId: "bystander", tool: "slow", arguments: { ms: 500 } });
  await assert.rejects(
    mesh.plugins.callTool({ pluginId: "victim", tool: "crash" }),
    fails(StatusCode.UNAVAILABLE, /exited with code 7/, "PLUGIN_CRASHED"),
  );
  const begun = performance.now();
  assert.equal(
    textOf(await mesh.plugins.callTool({ pluginId: "victim", tool: "echo", arguments: { text: "back" } })),
    "back",
  );
  assert.ok(performance.now() - begun < 3000);
  assert.equal(textOf(await neighbour), "slept");
  await until("the restart is counted", async () => (await mesh.plugins.getPlugin({ id: "victim" })).restarts === 1);
});

test("a plugin that crashes again and again is quarantined, until it is installed anew", async (t) => {
  const mesh = await startMesh(t);
  await mesh.startHost({
    restart: {
      firstMs: 10,
      baseMs: 10,
      maxMs: 20,
      healthyMs: 600_000,
      quarantineCrashes: 3,
      quarantineWindowMs: 60_000,
    },
  });
  const digest = await mesh.upload({});
  await mesh.plugins.installPlugin(ofDigest(digest));
  for (let crash = 0; crash < 3; crash++)
    await assert.rejects(
      mesh.plugins.callTool({ pluginId: "tester", tool: "crash" }),
      fails(StatusCode.UNAVAILABLE, /code 7/),
    );
  await until(
    "it is quarantined",
    async () => (await mesh.plugins.getPlugin({ id: "tester" })).state === PluginState.QUARANTINED,
  );
  await assert.rejects(
    mesh.plugins.callTool({ pluginId: "tester", tool: "echo" }),
    fails(
      StatusCode.FAILED_PRECONDITION,
      /quarantined after repeated failures.*Install it again/,
      "PLUGIN_QUARANTINED",
    ),
  );
  await mesh.plugins.installPlugin({ ...ofDigest(digest), replace: true });
  assert.equal((await mesh.plugins.callTool({ pluginId: "tester", tool: "echo" })).isError, false);
});

test("a second try with the same idempotency key does not run the tool again", async (t) => {
  const mesh = await startMesh(t);
  await mesh.startHost();
  await mesh.plugins.installPlugin(ofDigest(await mesh.upload({})));
  const request = { pluginId: "tester", tool: "count" };
  const first = textOf(await mesh.plugins.callTool(request, { idempotencyKey: "turn-1" }));
  assert.equal(textOf(await mesh.plugins.callTool(request, { idempotencyKey: "turn-1" })), first);
  assert.notEqual(textOf(await mesh.plugins.callTool(request, { idempotencyKey: "turn-2" })), first);
  await assert.rejects(
    mesh.plugins.callTool({ ...request, arguments: { other: true } }, { idempotencyKey: "turn-1" }),
    fails(StatusCode.INVALID_ARGUMENT, /other arguments/),
  );
});

test("a call's deadline is told with the plugin and the tool, not only as time that ran out", async (t) => {
  const mesh = await startMesh(t);
  await mesh.startHost();
  await mesh.plugins.installPlugin(ofDigest(await mesh.upload({})));
  await assert.rejects(
    mesh.plugins.callTool({ pluginId: "tester", tool: "never" }, { timeoutMs: 800 }),
    fails(StatusCode.DEADLINE_EXCEEDED, /Plugin tester: tool never did not answer in \d+ ms/),
  );
});

test("two hosts run what is installed and share the calls; one that leaves loses none", async (t) => {
  const mesh = await startMesh(t);
  const first = await mesh.startHost();
  await mesh.plugins.installPlugin(ofDigest(await mesh.upload({})));
  const second = await mesh.startHost();
  await until("both run it", async () => (await mesh.plugins.getPlugin({ id: "tester" })).runningHosts === 2);
  const members = await (await first.mesh.kv("plugin_hosts", jsonCodec<Member>())).entries();
  assert.deepEqual(
    members.map(({ key }) => key).toSorted(),
    [first.mesh.instanceId, second.mesh.instanceId].toSorted(),
  );

  const pids = await Promise.all(
    Array.from({ length: 64 }, () => mesh.plugins.callTool({ pluginId: "tester", tool: "pid" })),
  );
  assert.equal(new Set(pids.map(textOf)).size, 2, "both hosts take calls");

  let done = 0;
  let stopping: Promise<void> | undefined;
  const caller = async (): Promise<void> => {
    while (done < 2000) {
      const text = `call ${done++}`;
      const result = await mesh.plugins.callTool({ pluginId: "tester", tool: "echo", arguments: { text } });
      assert.equal(textOf(result), text);
      if (done > 600) stopping ??= first.stop();
    }
  };
  await Promise.all(Array.from({ length: 32 }, caller));
  await stopping;
  const statuses = await second.mesh.kv("plugin_status", protoCodec<PluginStatus>(PluginStatus));
  assert.deepEqual(
    (await statuses.entries()).map(({ value }) => value.hostId),
    [second.mesh.instanceId],
  );
  assert.deepEqual(
    (await (await second.mesh.kv("plugin_hosts", jsonCodec<Member>())).entries()).map(({ key }) => key),
    [second.mesh.instanceId],
  );
});

test("a host that starts later runs what was installed before, from the mesh's package", async (t) => {
  const mesh = await startMesh(t);
  const first = await mesh.startHost();
  await mesh.plugins.installPlugin(ofDigest(await mesh.upload({})));
  await first.stop();
  assert.ok(first.sandbox.started.every(({ pid }) => !isAlive(pid)));
  await mesh.startHost();
  assert.equal(
    textOf(await mesh.plugins.callTool({ pluginId: "tester", tool: "echo", arguments: { text: "again" } })),
    "again",
  );
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test("after a restart of NATS everything works again, with what was installed still there", async (t) => {
  const mesh = await startMesh(t);
  await mesh.startHost();
  await mesh.plugins.installPlugin(ofDigest(await mesh.upload({})));
  await mesh.nats.restart();
  const echo = () =>
    mesh.plugins.callTool({ pluginId: "tester", tool: "echo", arguments: { text: "again" } }, { timeoutMs: 2000 });
  await until("calls are answered", async () => textOf(await echo().catch(() => ({ content: [] }))) === "again");
  await until(
    "the status is told again",
    async () => (await mesh.plugins.getPlugin({ id: "tester" }).catch(() => undefined))?.state === PluginState.RUNNING,
  );
  await mesh.plugins.installPlugin({ id: "another", ...ofDigest(await mesh.upload({})) });
});
