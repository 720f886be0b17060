import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describeEnforcement } from "../../src/sandbox/enforcement.ts";
import { probeSandbox } from "../../src/sandbox/sandbox.ts";
import type { EnforcementReport, SandboxExit, SandboxSpec } from "../../src/sandbox/sandbox.ts";
import { pluginOf } from "./helpers.ts";

const HOST = fileURLToPath(new URL("./fixtures/host.ts", import.meta.url));
const NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups", process.execPath];

/** Runs a host as an ordinary user: as nobody when the test is root's, else as whoever runs the test. */
async function runAsUser(
  spec: SandboxSpec,
): Promise<{ limits: EnforcementReport["limits"]; stdout: string; stderr: string; exit: SandboxExit }> {
  const [program, ...before] = process.getuid?.() === 0 ? ["setpriv", ...NOBODY] : [process.execPath];
  const { stdout } = await promisify(execFile)(program ?? "", [...before, HOST, "{}", JSON.stringify(spec)]);
  return Object.assign(
    {},
    ...stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object),
  );
}

test("an ordinary user's sandbox isolates in the same way", async (t) => {
  const source = `
import json, os, socket
def attempt(action):
    try: action(); return "done"
    except OSError as error: return error.errno
print(json.dumps({"pids": [p for p in os.listdir("/proc") if p.isdigit()], "uid": os.getuid(), "env": sorted(os.environ),
  "passwd": open("/etc/passwd").read().count("\\n"), "unix": attempt(lambda: socket.socket(socket.AF_UNIX)),
  "kernel": attempt(lambda: open("/proc/sys/kernel/core_pattern", "w")), "device": attempt(lambda: os.chmod("/dev/null", 0o666)),
  "root": attempt(lambda: open("/probe", "w")), "tmp": attempt(lambda: open("/tmp/probe", "w"))}))`;
  const { stdout, stderr } = await runAsUser(pluginOf(t, "main.py", source));
  const seen = JSON.parse(stdout === "" ? JSON.stringify(stderr) : stdout) as Record<string, unknown>;
  assert.ok([1, 30].includes(seen["device"] as number), String(seen["device"]));
  const env = (seen["env"] as string[]).filter((name) => name !== "LC_CTYPE");
  assert.deepEqual(
    { ...seen, env, device: 0, kernel: [13, 30].includes(seen["kernel"] as number) },
    {
      pids: ["1", "2"],
      uid: 65534,
      env: ["HOME", "LANG", "PATH", "PWD"],
      passwd: 1,
      unix: 1,
      kernel: true,
      device: 0,
      root: 30,
      tmp: "done",
    },
  );
});

test("an ordinary user's plugin is ended when it takes too much memory", async (t) => {
  const spec = pluginOf(t, "main.py", "import time\nblock = b'x' * (300 << 20)\ntime.sleep(30)");
  assert.deepEqual((await runAsUser(spec)).exit, { code: null, signal: "SIGKILL", cause: "memory" });
});

test("an ordinary user's fork bomb stops at the limit of tasks", async (t) => {
  const source = `
import os, time
made = 0
for _ in range(200):
    try:
        if os.fork() == 0:
            time.sleep(1)
            os._exit(0)
        made += 1
    except OSError: break
print(made)`;
  const spec = pluginOf(t, "main.py", source);
  const { stdout, limits } = await runAsUser({ ...spec, limits: { ...spec.limits, maxProcesses: 20 } });
  assert.notEqual(limits.processes.enforcedBy, "nothing");
  assert.ok(Number(stdout) > 0 && Number(stdout) <= 20, `${stdout} processes were made`);
});

test("Node.js with its threads runs within an ordinary user's limits", async (t) => {
  const source = `
import { once } from "node:events";
import { Worker } from "node:worker_threads";
const worker = new Worker("require('node:worker_threads').parentPort.postMessage('hi')", { eval: true });
console.log(String(await once(worker, "message")));`;
  const { stdout, stderr } = await runAsUser(pluginOf(t, "main.mjs", source));
  assert.equal(stdout, "hi\n", stderr);
});

test("the probe finds out by doing what holds, and names what does not", async () => {
  const best = await probeSandbox();
  assert.equal(best.available, true);
  for (const name of ["memory", "processes", "openFiles", "tmp", "network", "seccomp"] as const) {
    assert.notEqual(best.limits[name].enforcedBy, "nothing", best.limits[name].detail);
  }
  const without = await probeSandbox({ cgroupParent: "none" });
  assert.equal(without.limits.memory.enforcedBy, "host sampling");
  assert.equal(without.limits.cpu.enforcedBy, "nothing");
  assert.deepEqual(without.missing, ["nothing limits cpu: only a cgroup can: switched off by configuration"]);
});

test("the probe of a machine without bubblewrap says so and what to do", async () => {
  const { available, missing, limits } = await probeSandbox({ bwrapPath: "/no/such/bwrap" });
  assert.equal(available, false);
  assert.match(missing.join(), /bubblewrap is missing.*apt-get install -y bubblewrap/);
  assert.deepEqual(new Set(Object.values(limits).map(({ enforcedBy }) => enforcedBy)), new Set(["nothing"]));
});

test("a report names the version of the cgroups that enforce", () => {
  const driver = { version: "v2", createLeaf: () => Promise.reject(new Error()), removeStale: async () => [] } as const;
  assert.equal(describeEnforcement(driver, true).memory.enforcedBy, "kernel cgroup v2");
  assert.equal(describeEnforcement("no", true).processes.enforcedBy, "host sampling");
  assert.equal(describeEnforcement("no", false).processes.enforcedBy, "rlimit");
});
