import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { createBubblewrapSandbox } from "../../src/sandbox/sandbox.ts";
import { MEBIBYTE, pluginOf, run, start } from "./helpers.ts";

const HOG = `
import sys, time
blocks = []
for _ in range(1024):
    blocks.append(b"x" * (1 << 20))
print("got it all")
time.sleep(30)`;

for (const cgroupParent of ["auto", "none"]) {
  const how = cgroupParent === "auto" ? "as this machine can best" : "without cgroups";

  test(`${how}: taking a gibibyte ends a plugin for its memory, and others go on`, async (t) => {
    const other = await start(t, pluginOf(t, "main.mjs", "process.stdin.pipe(process.stdout)"), { cgroupParent });
    const { stdout, exit } = await run(t, pluginOf(t, "main.py", HOG), { cgroupParent });
    // Who only samples may be late.
    if (cgroupParent === "auto") assert.equal(stdout, "");
    assert.deepEqual(exit, { code: null, signal: "SIGKILL", cause: "memory" });
    other.stdin.write("still here");
    const [chunk] = await once(other.stdout, "data");
    assert.equal(String(chunk), "still here");
  });

  test(`${how}: a plugin's processes share its memory limit`, async (t) => {
    // Each of the four would fit alone.
    const spec = pluginOf(
      t,
      "main.py",
      `
import os, sys, time
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        block = b"x" * (60 << 20)
        time.sleep(30)
        os._exit(0)
    children.append(pid)
_, status = os.wait()
os.kill(os.getpid(), os.WTERMSIG(status))`,
    );
    const { exit } = await run(t, spec, { cgroupParent });
    assert.deepEqual(exit, { code: null, signal: "SIGKILL", cause: "memory" });
  });

  test(`${how}: a fork bomb stops at the limit of tasks`, async (t) => {
    const spec = pluginOf(
      t,
      "main.py",
      `
import os, sys, time
made = 0
for _ in range(200):
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
    except OSError: break
print(made, flush=True)
time.sleep(30)`,
    );
    const limited = { ...spec, limits: { ...spec.limits, maxProcesses: 20 } };
    const sandbox = await createBubblewrapSandbox({ cgroupParent });
    const sampled = sandbox.limits.processes.enforcedBy === "host sampling";
    const started = await sandbox.start(limited);
    t.after(() => started.kill());
    const [made] = await Promise.race([once(started.stdout, "data"), started.exited.then(() => [undefined])]);
    // Where only the host counts, it ends the plugin when it sees too many.
    if (sampled) return assert.deepEqual(await started.exited, { code: null, signal: "SIGKILL", cause: "killed" });
    assert.ok(Number(String(made)) <= 20, `${String(made)} processes were made`);
    const { processes } = await started.usage();
    assert.ok(processes <= 20, `${processes} processes are running`);
    await started.kill();
    assert.deepEqual(await started.exited, { code: null, signal: "SIGKILL", cause: "killed" });
  });

  test(`${how}: usage tells memory, processor time and processes`, async (t) => {
    const spec = pluginOf(
      t,
      "main.py",
      `
import subprocess, sys, time
block = bytearray(b"x" * (40 << 20))
until = time.process_time() + 0.2
while time.process_time() < until: pass
child = subprocess.Popen(["/bin/cat"])
print("ready", flush=True)
sys.stdin.read()`,
    );
    const started = await start(t, spec, { cgroupParent });
    await once(started.stdout, "data");
    const usage = await started.usage();
    assert.ok(usage.memoryBytes > 40 * MEBIBYTE && usage.memoryBytes < 128 * MEBIBYTE, `${usage.memoryBytes} bytes`);
    assert.ok(usage.cpuSeconds >= 0.19 && usage.cpuSeconds < 5, `${usage.cpuSeconds} s`);
    assert.equal(usage.processes, 2);
    await started.kill();
    const after = await started.usage();
    assert.deepEqual([after.memoryBytes, after.processes], [0, 0]);
    assert.ok(after.cpuSeconds >= usage.cpuSeconds);
  });
}

test("processor time is limited", async (t) => {
  const spec = pluginOf(t, "main.py", "print('ready', flush=True)\nwhile True: pass");
  const started = await start(t, { ...spec, limits: { ...spec.limits, cpus: 0.25 } });
  await once(started.stdout, "data");
  const [before, at] = [await started.usage(), performance.now()];
  await delay(1000);
  const share = ((await started.usage()).cpuSeconds - before.cpuSeconds) / ((performance.now() - at) / 1000);
  assert.ok(share < 0.4, `it had ${share} of a processor`);
});

test("pages of /tmp count as memory", async (t) => {
  const spec = pluginOf(
    t,
    "main.py",
    `
with open("/tmp/big", "wb", buffering=0) as file:
    for _ in range(64): file.write(b"x" * (1 << 20))
print("written")`,
  );
  const limits = { ...spec.limits, memoryBytes: 32 * MEBIBYTE, tmpBytes: 128 * MEBIBYTE };
  const { stdout, exit } = await run(t, { ...spec, limits });
  assert.equal(stdout, "");
  assert.equal(exit.cause, "memory");
});

test("open files are limited, and no core is dumped", async (t) => {
  const spec = pluginOf(
    t,
    "main.py",
    `
import resource
hard = lambda what: resource.getrlimit(what)
files = []
try:
    while len(files) < 1000: files.append(open("/dev/null"))
except OSError: pass
print(len(files) < 40, hard(resource.RLIMIT_NOFILE), hard(resource.RLIMIT_CORE))`,
  );
  const { stdout } = await run(t, { ...spec, limits: { ...spec.limits, maxOpenFiles: 40 } });
  assert.equal(stdout, "True (40, 40) (0, 0)\n");
});

test("one allocation far over the limit fails where no cgroup would stop it", async (t) => {
  const source = "try: print(len(bytearray(8 << 30)))\nexcept MemoryError: print('refused')";
  const { stdout } = await run(t, pluginOf(t, "main.py", source), { cgroupParent: "none" });
  assert.equal(stdout, "refused\n");
});

test("memory outside of any process is refused where no cgroup would count it", async (t) => {
  const source = "import os\ntry: print(os.memfd_create('x'))\nexcept OSError as e: print(e.errno)";
  const { stdout } = await run(t, pluginOf(t, "main.py", source), { cgroupParent: "none" });
  assert.equal(stdout, "38\n");
});

test("how a plugin ended is told apart", async (t) => {
  const endings = [
    ["raise SystemExit(3)", { code: 3, signal: null, cause: "exit" }],
    ["print('bye')", { code: 0, signal: null, cause: "exit" }],
    ["import os; os.abort()", { code: null, signal: "SIGABRT", cause: "signal" }],
    ["import os; os.kill(os.getpid(), 9)", { code: null, signal: "SIGKILL", cause: "signal" }],
  ] as const;
  for (const [source, expected] of endings) {
    const started = await start(t, pluginOf(t, "main.py", source));
    void text(started.stderr);
    assert.deepEqual(await started.exited, expected, source);
  }
});
