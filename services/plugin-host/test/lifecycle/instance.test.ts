import assert from "node:assert/strict";
import { test } from "node:test";
import { StatusCode } from "@warren/mesh";
import { StartFailed } from "../../src/lifecycle/instance.ts";
import { fails } from "../support/fails.ts";
import { startTestServer, texts } from "../support/instances.ts";
import { until } from "../support/until.ts";

test("a plugin's tools are listed over all pages and can be called", async (t) => {
  const { instance, call } = await startTestServer(t);
  assert.ok(instance.tools.size > 20);
  assert.equal(instance.tools.get("echo")?.description, "does echo");
  const result = await call("echo", { text: "hello" });
  assert.deepEqual(result.content, [{ type: "text", text: "hello" }]);
  assert.equal(result.isError, false);
  assert.deepEqual((await call("structured")).structuredContent, { answer: 42 });
});

test("a tool's own failure is a result, a protocol error is a status", async (t) => {
  const { call } = await startTestServer(t);
  assert.equal((await call("fail")).isError, true);
  await assert.rejects(call("invalid"), fails(StatusCode.INVALID_ARGUMENT, /text must be a string/));
  await assert.rejects(call("no-such-tool"), fails(StatusCode.NOT_FOUND, /no tool no-such-tool/));
  await assert.rejects(call("no-result"), fails(StatusCode.UNKNOWN, /neither a result nor an error/));
});

test("a server that knows only the stateless protocol is refused by initialize and served in its own era", async (t) => {
  await assert.rejects(startTestServer(t, ["--stateless"]), { name: "InitializeRefused" });
  const { call } = await startTestServer(t, ["--stateless"], { era: "stateless" });
  assert.deepEqual((await call("echo")).content, [{ type: "text", text: "stateless" }]);
});

test("a call that takes too long fails in time, and a plugin that spins is ended", async (t) => {
  const { instance, call } = await startTestServer(t);
  await assert.rejects(
    call("spin", {}, 200),
    fails(StatusCode.DEADLINE_EXCEEDED, /tester: tool spin did not answer in 200 ms/, "PLUGIN_TIMEOUT"),
  );
  assert.equal((await instance.exited).cause, "unresponsive");
});

test("a plugin that spins ignoring SIGTERM is ended all the same", async (t) => {
  const { instance, call } = await startTestServer(t, ["--ignore-sigterm"]);
  await assert.rejects(call("spin", {}, 100), fails(StatusCode.DEADLINE_EXCEEDED, /did not answer/));
  assert.equal((await instance.exited).cause, "unresponsive");
});

test("a tool that never answers costs its caller the call, and the plugin lives on", async (t) => {
  const { instance, call } = await startTestServer(t);
  await assert.rejects(call("never", {}, 100), fails(StatusCode.DEADLINE_EXCEEDED, /did not answer/));
  await assert.rejects(call("never", {}, 500), fails(StatusCode.DEADLINE_EXCEEDED, /did not answer/));
  assert.equal((await call("echo", { text: "alive" })).isError, false);
  assert.equal(instance.alive, true);
});

test("a busy plugin is not condemned by an impatient caller while another call may still take its time", async (t) => {
  const { instance, call } = await startTestServer(t);
  const patient = call("spin", { ms: 1200 }, 5000);
  await assert.rejects(call("echo", {}, 100), fails(StatusCode.DEADLINE_EXCEEDED, /did not answer/));
  assert.equal((await patient).isError, false);
  assert.equal(instance.alive, true);
});

test("a cancelled call ends at once; the plugin is ended only if it does not come back in the call's time", async (t) => {
  const { instance, call } = await startTestServer(t);
  const caller = new AbortController();
  const cancelled = call("spin", {}, 600, caller.signal);
  setTimeout(() => caller.abort(), 50);
  const begun = performance.now();
  await assert.rejects(cancelled, fails(StatusCode.CANCELLED, /cancelled/));
  assert.ok(performance.now() - begun < 500);
  assert.equal(instance.alive, true);
  assert.equal((await instance.exited).cause, "unresponsive");
});

test("a crash fails every call in flight with a reason that is not taken for 'it never ran'", async (t) => {
  const { instance, call } = await startTestServer(t);
  const other = assert.rejects(
    call("never"),
    fails(StatusCode.UNAVAILABLE, /tester exited with code 7/, "PLUGIN_CRASHED"),
  );
  await assert.rejects(call("crash"), fails(StatusCode.UNAVAILABLE, /about to crash/, "PLUGIN_CRASHED"));
  await other;
  assert.equal((await instance.exited).cause, "crash");
});

test("an exit with code 0 during a call is a crash too", async (t) => {
  const { call } = await startTestServer(t);
  await assert.rejects(call("exit0"), fails(StatusCode.UNAVAILABLE, /exited with code 0/, "PLUGIN_CRASHED"));
});

test("an end for memory names the limit to every caller in flight", async (t) => {
  const { call, sandbox } = await startTestServer(t);
  const [only] = sandbox.started;
  assert.ok(only);
  sandbox.memoryEnds.add(only.pid);
  const both = [call("never"), call("never")].map((each) =>
    assert.rejects(
      each,
      fails(
        StatusCode.RESOURCE_EXHAUSTED,
        /Plugin tester exceeded its memory limit of 256 MiB/,
        "PLUGIN_OUT_OF_MEMORY",
      ),
    ),
  );
  process.kill(only.pid, "SIGKILL");
  await Promise.all(both);
});

test("a runtime that gives up at its limit by itself is told from a crash", async (t) => {
  const { call } = await startTestServer(t);
  await assert.rejects(call("oom-abort"), fails(StatusCode.RESOURCE_EXHAUSTED, /memory limit/, "PLUGIN_OUT_OF_MEMORY"));
});

test("lines that are no JSON-RPC are logged with their control characters shown, and do no harm", async (t) => {
  const { call, log } = await startTestServer(t);
  assert.equal((await call("garbage")).isError, false);
  assert.equal((await call("noise")).isError, false);
  assert.ok(
    texts(log).some((line) => line.includes("not JSON-RPC: this is no JSON \\u001b[31m")),
    texts(log).join("\n"),
  );
});

test("too much garbage ends the plugin", async (t) => {
  const { instance, call } = await startTestServer(t);
  await assert.rejects(
    call("garbage", { times: 64 }),
    fails(StatusCode.UNAVAILABLE, /broke the protocol 32 times/, "PLUGIN_PROTOCOL_VIOLATION"),
  );
  assert.equal((await instance.exited).cause, "protocol");
});

test("duplicate and unknown answers are the plugin's errors, and reach nobody", async (t) => {
  const { call, log } = await startTestServer(t);
  assert.deepEqual((await call("duplicate")).content, [{ type: "text", text: "once" }]);
  assert.deepEqual((await call("unknown-id")).content, [{ type: "text", text: "for you" }]);
  await until("both are logged", () => texts(log).filter((line) => line.includes("waits for no answer")).length === 2);
});

test("an answer that nests too deep fails its call at once", async (t) => {
  const { call } = await startTestServer(t);
  await assert.rejects(call("deep"), fails(StatusCode.UNKNOWN, /nests deeper than 32 levels/));
});

test("a line without end, and a flood of notifications, end the plugin", async (t) => {
  const huge = await startTestServer(t);
  await assert.rejects(
    huge.call("huge"),
    fails(StatusCode.UNAVAILABLE, /line longer than 8388608 bytes/, "PLUGIN_PROTOCOL_VIOLATION"),
  );
  const flood = await startTestServer(t);
  await assert.rejects(
    flood.call("flood"),
    fails(StatusCode.UNAVAILABLE, /nobody asked for/, "PLUGIN_PROTOCOL_VIOLATION"),
  );
});

test("calls over the channel's bound are refused without harm to the others", async (t) => {
  const { defaultInstanceFigures } = await import("../../src/app.ts");
  const { call } = await startTestServer(t, [], {
    figures: { ...defaultInstanceFigures, channel: { ...defaultInstanceFigures.channel, maxOutstanding: 2 } },
  });
  const first = [call("slow", { ms: 300 }), call("slow", { ms: 300 })];
  await assert.rejects(call("echo"), fails(StatusCode.RESOURCE_EXHAUSTED, /2 calls in flight/, "PLUGIN_BUSY"));
  await Promise.all(first);
  assert.equal((await call("echo")).isError, false);
});

test("a changed list of tools is taken over", async (t) => {
  let changed = false;
  const { instance, call } = await startTestServer(t, [], { onToolsChanged: () => (changed = true) });
  await call("add-tool");
  await until("the change is seen", () => changed);
  assert.ok(instance.tools.has("added"));
});

test("a plugin that exits, stays silent, or lists what cannot be listed does not start", async (t) => {
  const starting = (flags: string[], startTimeoutMs = 3000) =>
    startTestServer(t, flags, { figures: { startTimeoutMs } });
  await assert.rejects(
    starting(["--exit"]),
    (error: unknown) =>
      error instanceof StartFailed && /exited with code 3: cannot start: no licence/.test(error.message),
  );
  await assert.rejects(
    starting(["--silent"], 300),
    (error: unknown) =>
      error instanceof StartFailed && /did not begin an MCP session within 300 ms/.test(error.message),
  );
  await assert.rejects(
    starting(["--endless-list"]),
    (error: unknown) => error instanceof StartFailed && /more than 32 pages/.test(error.message),
  );
  await assert.rejects(
    starting(["--bad-name"]),
    (error: unknown) => error instanceof StartFailed && /cannot be called/.test(error.message),
  );
});

test("stopping waits for the call in flight, then ends the process", async (t) => {
  const { instance, call } = await startTestServer(t);
  const last = call("slow", { ms: 200 });
  await instance.stop(5000);
  assert.equal((await last).isError, false);
  assert.equal((await instance.exited).cause, "stopped");
  await assert.rejects(call("echo"), fails(StatusCode.UNAVAILABLE, /not running/, "DRAINING"));
});

test("nothing of the host's environment reaches the plugin", async (t) => {
  process.env["WARREN_TEST_CANARY"] = "canary";
  t.after(() => delete process.env["WARREN_TEST_CANARY"]);
  const { call } = await startTestServer(t);
  const [block] = (await call("env")).content;
  assert.ok(!JSON.stringify(block).includes("canary"));
});
