import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { StatusCode } from "@warren/mesh";
import { checkManifest } from "@warren/plugin-manifest";
import { ResourceLimits, type ToolResult } from "@warren/proto/warren/plugins/v1/plugins";
import { inFlightError, judgeExit } from "../../src/lifecycle/exit.ts";
import { IdempotentCalls } from "../../src/lifecycle/idempotency.ts";
import { NotRunnable, sandboxSpec } from "../../src/lifecycle/launch.ts";
import { captureLines, PluginLog } from "../../src/lifecycle/plugin-log.ts";
import { defaultRestartFigures, RestartPolicy } from "../../src/lifecycle/restart.ts";
import { fails } from "../support/fails.ts";

test("the first restart comes at once, further ones later and later, up to five minutes", () => {
  let time = 0;
  const policy = new RestartPolicy(
    { ...defaultRestartFigures, quarantineCrashes: 1000 },
    () => 1,
    () => time,
  );
  const delays = Array.from({ length: 12 }, () => {
    time += 1_000_000;
    return policy.failed().delayMs;
  });
  assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000]);
});

test("jitter takes at most half of a delay", () => {
  const delays = [0, 0.5, 1].map((random) => new RestartPolicy(defaultRestartFigures, () => random).failed().delayMs);
  assert.deepEqual(delays, [250, 375, 500]);
});

test("ten minutes of health forgive what was before", () => {
  let time = 0;
  const policy = new RestartPolicy(
    defaultRestartFigures,
    () => 1,
    () => time,
  );
  policy.failed();
  policy.failed();
  policy.started();
  time += defaultRestartFigures.healthyMs - 1;
  assert.equal(policy.failed().delayMs, 2000);
  policy.started();
  time += defaultRestartFigures.healthyMs;
  assert.equal(policy.failed().delayMs, 500);
});

test("five crashes within a minute are a quarantine; slower ones, and failures of the host, are not", () => {
  let time = 0;
  const crashes = (every: number): string[] => {
    const policy = new RestartPolicy(
      defaultRestartFigures,
      () => 0,
      () => time,
    );
    return Array.from({ length: 5 }, () => {
      time += every;
      return policy.crashed().kind;
    });
  };
  assert.deepEqual(crashes(10_000), ["restart", "restart", "restart", "restart", "quarantine"]);
  assert.ok(!crashes(20_000).includes("quarantine"));
  const policy = new RestartPolicy(defaultRestartFigures);
  for (let i = 0; i < 10; i++) assert.equal(policy.failed().kind, "restart");
});

test("the log keeps the last thousand lines, cut and without control characters", () => {
  const log = new PluginLog(() => new Date(0));
  for (let i = 0; i < 1500; i++) log.add("stderr", `line ${i}`);
  assert.equal(log.tail(5000).length, 1000);
  assert.deepEqual(
    log.tail(2).map(({ text }) => text),
    ["line 1498", "line 1499"],
  );
  assert.equal(log.tail(1000)[0]?.text, "line 500");
  log.add("host", `\u001b[31mred\r\n\u202e${"x".repeat(9000)}`);
  const [last] = log.tail(1);
  assert.ok(last?.text.startsWith("\\u001b[31mred\\u000d\\u000a\\u202e"));
  assert.ok((last?.text.length ?? 0) < 4200);
});

test("lines of a stream are captured whole, cut when endless, and flushed at its end", async () => {
  const stream = new PassThrough();
  const lines: string[] = [];
  captureLines(stream, (line) => lines.push(line));
  stream.write("one\ntw");
  stream.write("o\n\n");
  for (let i = 0; i < 100; i++) stream.write("x".repeat(10_000));
  stream.write("\nlast");
  stream.end();
  await new Promise((resolve) => stream.once("end", resolve));
  assert.deepEqual([lines[0], lines[1], lines[3]], ["one", "two", "last"]);
  assert.equal(lines[2]?.length, 16_384);
});

const result = (text: string): ToolResult => ({
  content: [{ type: "text", text }],
  structuredContent: undefined,
  isError: false,
});

test("a call with a known key is not run again, while it runs or later, until it is too old", async () => {
  let time = 0;
  let runs = 0;
  const calls = new IdempotentCalls({ maxAgeMs: 1000, maxEntries: 10, maxBytes: 10_000 }, () => time);
  const run = (key: string, args: unknown = {}) =>
    calls.run(["tenant", "someone", "tool", key], args, () => Promise.resolve(result(String(++runs))));
  const [first, second] = await Promise.all([run("a"), run("a")]);
  assert.equal(first, second);
  assert.equal(await run("a"), first);
  assert.equal(runs, 1);
  await assert.rejects(
    run("a", { other: 1 }),
    fails(StatusCode.INVALID_ARGUMENT, /other arguments/, "IDEMPOTENCY_KEY_REUSED"),
  );
  assert.notEqual(
    await calls.run(["tenant", "another", "tool", "a"], {}, () => Promise.resolve(result(String(++runs)))),
    first,
  );
  time = 1001;
  assert.notEqual(await run("a"), first);
});

test("failed calls are forgotten, and what is remembered stays within its bounds", async () => {
  let runs = 0;
  const calls = new IdempotentCalls({ maxAgeMs: 1000, maxEntries: 2, maxBytes: 1000 }, () => 0);
  const run = (key: string, outcome: () => Promise<ToolResult>) => calls.run([key], {}, () => (runs++, outcome()));
  await assert.rejects(run("f", () => Promise.reject(new Error("no"))));
  await run("f", () => Promise.resolve(result("yes")));
  assert.equal(runs, 2);
  for (const key of ["x", "y", "z"]) await run(key, () => Promise.resolve(result(key)));
  await run("x", () => Promise.resolve(result("x")));
  assert.equal(runs, 6, "the oldest made room");
  await run("big", () => Promise.resolve(result("b".repeat(2000))));
  await run("big", () => Promise.resolve(result("b")));
  assert.equal(runs, 8, "what is too big is not kept");
});

const base = { id: "p", version: "1.0.0", name: "p", description: "p" };
const limits = ResourceLimits.fromPartial({
  memoryBytes: 256n << 20n,
  cpus: 1,
  maxProcesses: 64,
  callTimeoutMs: 1000,
  maxOpenFiles: 64,
  tmpBytes: 0n,
});
const launch = (manifest: Record<string, unknown>) =>
  sandboxSpec({
    pluginId: "p",
    manifest: checkManifest({ ...base, ...manifest }),
    limits,
    root: "/store/p",
    mounts: [{ source: "/srv", target: "/srv", writable: false }],
    nodePath: "/opt/node",
  });

test("each runtime has its command; only what needs Node.js gets it; the environment is empty", () => {
  const node = launch({ runtime: "node", entry: "main.ts" });
  assert.deepEqual(node.command, ["/runtime/node", "--max-old-space-size=192", "/plugin/main.ts"]);
  assert.deepEqual(node.binds, [
    { source: "/opt/node", target: "/runtime/node", writable: false },
    { source: "/srv", target: "/srv", writable: false },
  ]);
  assert.deepEqual(node.env, {});
  assert.equal(node.limits.tmpBytes, 4096);
  const python = launch({ runtime: "python", entry: "main.py" });
  assert.deepEqual(python.command, ["/usr/bin/python3", "-E", "-s", "-B", "-u", "/plugin/main.py"]);
  assert.equal(python.binds.length, 1);
  assert.deepEqual(launch({ runtime: "native", entry: "bin/run" }).command, ["/plugin/bin/run"]);
  assert.deepEqual(launch({ runtime: "mcp", command: ["/runtime/node", "/plugin/x.js", "a"] }).command, [
    "/runtime/node",
    "--max-old-space-size=192",
    "/plugin/x.js",
    "a",
  ]);
});

test("host calls are offered only to plugins that ask for them", () => {
  assert.equal(
    launch({ runtime: "native", entry: "x", permissions: { required: ["fs:read:/srv"] } }).hostChannel,
    false,
  );
  assert.equal(
    launch({ runtime: "native", entry: "x", permissions: { optional: ["secrets:lease:a"] } }).hostChannel,
    true,
  );
});

test("an isolation level or a runtime that is not there is refused, never weakened", () => {
  assert.throws(() => launch({ runtime: "native", entry: "x", isolation: "container" }), NotRunnable);
  assert.throws(() => launch({ runtime: "native", entry: "x", isolation: "vm" }), NotRunnable);
  assert.throws(() => launch({ runtime: "wasm", entry: "x" }), NotRunnable);
});

test("an end by memory wins over how the host saw it, and says the limit", () => {
  const judge = (
    cause: "exit" | "signal" | "memory" | "killed",
    ordered?: Parameters<typeof judgeExit>[1],
    lines: string[] = [],
  ) =>
    judgeExit(
      { code: cause === "exit" ? 1 : null, signal: cause === "exit" ? null : "SIGKILL", cause },
      ordered,
      64 << 20,
      lines,
    );
  assert.equal(judge("memory", { cause: "unresponsive", reason: "x" }).reason, "exceeded its memory limit of 64 MiB");
  assert.equal(judge("exit", undefined, ["MemoryError"]).cause, "memory");
  assert.equal(judge("exit", undefined, ["ValueError"]).reason, "exited with code 1: ValueError");
  assert.equal(judge("signal").reason, "was ended by SIGKILL");
  assert.equal(judge("killed", { cause: "stopped", reason: "was stopped" }).cause, "stopped");
  assert.equal(inFlightError("p", { cause: "stopped", reason: "was stopped" }).details.reason, "PLUGIN_STOPPED");
});
