import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { chmodSync, closeSync, openSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { PassThrough } from "node:stream";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createBubblewrapSandbox, SandboxError } from "../../src/sandbox/sandbox.ts";
import type { EnforcementReport } from "../../src/sandbox/sandbox.ts";
import { leavesOf, NODE, pluginOf, processesWith, run, start, temporaryFolder, until } from "./helpers.ts";

const HOST = fileURLToPath(new URL("./fixtures/host.ts", import.meta.url));
const SPIN = `
import { spawn } from "node:child_process";
process.on("SIGTERM", () => {});
for (let i = 0; i < 3; i += 1) spawn(process.execPath, ["-e", "for (;;);", process.argv[2]], { detached: true, stdio: "ignore" });
console.log("spinning");
setTimeout(() => { for (;;); }, 50);`;

// One after the other: these tests count what this process has open, and its cgroups.
describe("the life of a sandbox", { concurrency: false }, () => {
  for (const cgroupParent of ["auto", "none"]) {
    test(`kill ends a spinning plugin and its detached children at once (cgroups: ${cgroupParent})`, async (t) => {
      const marker = randomUUID();
      const spec = pluginOf(t, "main.mjs", SPIN);
      const started = await start(
        t,
        { ...spec, command: ["/runtime/node", "/plugin/main.mjs", marker] },
        { cgroupParent },
      );
      await once(started.stdout, "data");
      await until(async () => (await started.usage()).processes === 4);
      assert.notDeepEqual(await processesWith(marker), []);
      const before = performance.now();
      await started.kill();
      assert.ok(performance.now() - before < 1000, `it took ${performance.now() - before} ms`);
      assert.deepEqual(await started.exited, { code: null, signal: "SIGKILL", cause: "killed" });
      assert.deepEqual(await processesWith(marker), []);
      assert.deepEqual(await leavesOf(process.pid), []);
      assert.ok(started.stdout.destroyed && started.stderr.destroyed && started.stdin.destroyed);
      await started.kill();
    });

    test(`what a plugin leaves behind ends with it (cgroups: ${cgroupParent})`, async (t) => {
      const marker = randomUUID();
      const source = `
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "${marker}"], start_new_session=True)`;
      const { exit } = await run(t, pluginOf(t, "main.py", source), { cgroupParent });
      assert.deepEqual(exit, { code: 0, signal: null, cause: "exit" });
      assert.deepEqual(await processesWith(marker), []);
      assert.deepEqual(await leavesOf(process.pid), []);
    });
  }

  test("a running sandbox has a cgroup wherever one can be had", async (t) => {
    const sandbox = await createBubblewrapSandbox();
    const started = await sandbox.start(pluginOf(t, "main.py", "import sys\nsys.stdin.read()"));
    t.after(() => started.kill());
    const expected = sandbox.limits.memory.enforcedBy.startsWith("kernel cgroup");
    assert.equal((await leavesOf(process.pid)).length > 0, expected);
  });

  test("output nobody has read when the plugin ends is still there to read, by any way", async (t) => {
    const readers = [
      (stream: Readable) => text(stream),
      async (stream: Readable) => (await stream.toArray()).join(""),
      async (stream: Readable) => {
        let all = "";
        stream.on("data", (chunk) => (all += String(chunk)));
        await once(stream, "end");
        return all;
      },
      (stream: Readable) => text(stream.pipe(new PassThrough())),
    ];
    for (const read of readers) {
      const started = await start(t, pluginOf(t, "main.py", "print('x' * 100000)"));
      await started.exited;
      assert.equal((await read(started.stdout)).length, 100_001);
    }
  });

  test("a plugin that ends at once has started all the same", async (t) => {
    const sandbox = await createBubblewrapSandbox();
    const spec = { ...pluginOf(t, "main.py", ""), command: ["/bin/true"] as const };
    const starts = Array.from({ length: 20 }, async () => (await sandbox.start(spec)).exited);
    for (const exit of await Promise.all(starts)) assert.deepEqual(exit, { code: 0, signal: null, cause: "exit" });
  });

  test("no descriptor stays open after many starts, ends and failures", async (t) => {
    const sandbox = await createBubblewrapSandbox();
    const spec = pluginOf(t, "main.py", "print('hello')");
    const once = async (index: number): Promise<void> => {
      const started = await sandbox.start({ ...spec, hostChannel: true });
      if (index % 2 === 0) await started.kill();
      else await Promise.all([started.exited, text(started.stdout), text(started.stderr)]);
      await assert.rejects(sandbox.start({ ...spec, command: ["/no/such/program"] }), SandboxError);
    };
    await once(0);
    const before = openDescriptors();
    for (let index = 0; index < 6; index += 1) await once(index);
    await until(() => openDescriptors() <= before);
    assert.deepEqual(await leavesOf(process.pid), []);
  });

  test("a program that is not there fails the start with its name", async (t) => {
    const sandbox = await createBubblewrapSandbox();
    const spec = pluginOf(t, "main.py", "");
    for (const program of ["/plugin/absent", "absent", "/plugin/main.py", "/plugin"]) {
      await assert.rejects(sandbox.start({ ...spec, command: [program] }), (error: SandboxError) => {
        assert.equal(error.code, "SANDBOX_START_FAILED");
        assert.match(error.message, new RegExp(`acme/test: ${program}: no such program inside the sandbox`));
        return true;
      });
    }
    assert.deepEqual(await leavesOf(process.pid), []);
  });

  test("a mount that cannot be made fails the start with what bubblewrap says", async (t) => {
    const sandbox = await createBubblewrapSandbox();
    const spec = pluginOf(t, "main.py", "");
    const file = join(spec.root, "main.py");
    const binds = [
      { source: file, target: "/data/file", writable: false },
      { source: spec.root, target: "/data/file/below", writable: false },
    ];
    await assert.rejects(sandbox.start({ ...spec, binds }), { code: "SANDBOX_START_FAILED", message: /bwrap: .*file/ });
    assert.deepEqual(await leavesOf(process.pid), []);
  });

  test("a bubblewrap that hangs fails the start in time and is ended, with its children", async (t) => {
    const folder = temporaryFolder(t);
    const marker = `3${Math.floor(Math.random() * 1e9)}`;
    writeFileSync(join(folder, "bwrap"), `#!/bin/sh\nsleep ${marker}\n`);
    chmodSync(join(folder, "bwrap"), 0o755);
    const options = { bwrapPath: join(folder, "bwrap"), startTimeoutMs: 300 };
    await assert.rejects(createBubblewrapSandbox(options), (error: SandboxError) => {
      assert.equal(error.code, "SANDBOX_UNAVAILABLE");
      assert.equal((error.cause as SandboxError).code, "SANDBOX_START_TIMEOUT");
      return true;
    });
    assert.deepEqual(await processesWith(marker), []);
    assert.deepEqual(await leavesOf(process.pid), []);
  });

  test("without bubblewrap there is no sandbox, and the error says what to install", async () => {
    await assert.rejects(createBubblewrapSandbox({ bwrapPath: "/no/such/bwrap" }), {
      name: "SandboxError",
      code: "SANDBOX_UNAVAILABLE",
      message: /bubblewrap is missing \(\/no\/such\/bwrap\)/,
      remedy: "apt-get install -y bubblewrap",
    });
  });

  test("a cgroup parent that was asked for and cannot be used is an error, not a weaker sandbox", async () => {
    await assert.rejects(createBubblewrapSandbox({ cgroupParent: "/\0" }), {
      code: "SANDBOX_UNAVAILABLE",
      message: /the cgroup .* cannot be used/,
    });
  });

  test("plugins die with a host that is killed, and the next host clears its cgroups away", async (t) => {
    const marker = randomUUID();
    const spec = pluginOf(t, "main.py", "import sys\nprint('up', flush=True)\nsys.stdin.read()");
    const command = [...spec.command, marker];
    const host = spawn(process.execPath, [HOST, "{}", JSON.stringify({ ...spec, command })]);
    t.after(() => host.kill("SIGKILL"));
    const [first] = await once(createInterface(host.stdout), "line");
    const { pid } = host;
    assert.ok(pid !== undefined);
    const { limits } = JSON.parse(String(first)) as EnforcementReport;
    assert.equal((await leavesOf(pid)).length > 0, limits.memory.enforcedBy.startsWith("kernel cgroup"));
    host.kill("SIGKILL");
    await once(host, "exit");
    await until(async () => (await processesWith(marker)).length === 0);
    await createBubblewrapSandbox();
    assert.deepEqual(await leavesOf(pid), []);
  });

  test("a host's leaves are left alone while it lives", async (t) => {
    const spec = pluginOf(t, "main.py", "import sys\nsys.stdin.read()");
    const host = spawn(process.execPath, [HOST, "{}", JSON.stringify(spec)]);
    t.after(() => host.kill("SIGKILL"));
    await once(createInterface(host.stdout), "line");
    const leaves = await leavesOf(host.pid ?? 0);
    await createBubblewrapSandbox();
    assert.deepEqual(await leavesOf(host.pid ?? 0), leaves);
  });

  test("descriptors the host inherited do not reach the plugin", async (t) => {
    const spec = pluginOf(
      t,
      "main.py",
      `
import json, os
found = []
for name in os.listdir("/proc/self/fd"):
    if int(name) < 3: continue
    try: found.append(os.pread(int(name), 100, 0).decode())
    except OSError: pass
print(json.dumps(found))`,
    );
    const secret = join(temporaryFolder(t), "secret");
    writeFileSync(secret, "hunter2");
    const opened = openSync(secret, "r");
    t.after(() => closeSync(opened));
    // Far above the others, where Node.js does not look when it starts.
    const stdio = Array.from({ length: 61 }, (_entry, index) =>
      index < 3 ? "pipe" : index === 60 ? opened : "ignore",
    );
    const host = spawn(process.execPath, [HOST, "{}", JSON.stringify(spec)], { stdio });
    t.after(() => host.kill("SIGKILL"));
    assert.ok(host.stdout);
    const [first = "", second = ""] = (await text(host.stdout)).split("\n");
    assert.ok((JSON.parse(first) as { inheritable: number[] }).inheritable.includes(60));
    assert.equal((JSON.parse(second) as { stdout: string }).stdout, "[]\n");
  });

  test("a plugin that stops reading does not hurt the host", async (t) => {
    const started = await start(t, { ...pluginOf(t, "main.mjs", "process.exit(0)"), binds: [NODE], hostChannel: true });
    for (let index = 0; index < 50; index += 1) {
      started.stdin.write("x".repeat(10_000));
      started.channel?.write("x".repeat(10_000));
    }
    assert.deepEqual(await started.exited, { code: 0, signal: null, cause: "exit" });
  });
});

function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}
