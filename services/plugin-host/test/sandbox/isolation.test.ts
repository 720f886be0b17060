import assert from "node:assert/strict";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { MEBIBYTE, NODE, pluginOf, run, runPython, start, temporaryFolder } from "./helpers.ts";

test("sees none of the host's users, homes and settings", async (t) => {
  const seen = await runPython(
    t,
    `
import json, os
read = lambda path: open(path).read()
def attempt(path):
    try: return read(path)
    except OSError as error: return error.strerror
print(json.dumps({"passwd": read("/etc/passwd"), "etc": sorted(os.listdir("/etc")), "root": sorted(os.listdir("/")),
  "hostname": os.uname().nodename, "uid": os.getuid(), "cwd": os.getcwd(), "boot": attempt("/proc/cmdline")}))`,
  );
  const { passwd, etc, root, ...rest } = seen as { passwd: string; etc: string[]; root: string[] };
  assert.match(passwd, /^nobody:[^\n]*\n$/);
  assert.notEqual(readFileSync("/etc/passwd", "utf8"), passwd);
  for (const name of ["shadow", "hostname", "resolv.conf", "ssh", "machine-id"]) assert.ok(!etc.includes(name), name);
  const expected = ["bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "plugin", "proc", "sbin", "tmp", "usr"];
  assert.deepEqual(
    root.filter((name) => !expected.includes(name)),
    [],
  );
  assert.deepEqual(rest, { hostname: "plugin", uid: 65534, cwd: "/plugin", boot: "Permission denied" });
});

test("has the given environment and nothing of the host's", async (t) => {
  process.env["SANDBOX_TEST_SECRET"] = "hunter2";
  t.after(() => delete process.env["SANDBOX_TEST_SECRET"]);
  const env = await runPython(t, "import json, os\nprint(json.dumps(dict(os.environ)))", {
    env: { GREETING: "a 'b' \"c\"\n$d" },
  });
  assert.deepEqual(env, {
    GREETING: "a 'b' \"c\"\n$d",
    HOME: "/tmp",
    LANG: "C.UTF-8",
    PATH: "/usr/bin:/bin",
    PWD: "/plugin",
    // Python sets this one itself.
    ...((env as Record<string, string>)["LC_CTYPE"] === undefined ? {} : { LC_CTYPE: "C.UTF-8" }),
  });
});

test("its environment and the host's paths are not to be read in the list of processes", async (t) => {
  const spec = pluginOf(t, "main.py", "import sys\nsys.stdin.read()");
  const started = await start(t, { ...spec, env: { TOKEN_LIKE: "value-not-for-ps" } });
  for (const pid of [started.pid, process.pid]) {
    assert.doesNotMatch(readFileSync(`/proc/${pid}/cmdline`, "utf8"), /value-not-for-ps|sandbox-test-/);
  }
});

test("cannot reach a server on the host's loopback", async (t) => {
  let connections = 0;
  const server = createServer(() => (connections += 1));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const result = await runPython(
    t,
    `
import json, socket
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.settimeout(5)
try:
    s.connect(("127.0.0.1", ${(server.address() as AddressInfo).port})); print(json.dumps("connected"))
except OSError as error: print(json.dumps("refused"))`,
  );
  assert.equal(result, "refused");
  assert.equal(connections, 0);
});

test("cannot use a Unix socket of the host, even one in a folder it may write to", async (t) => {
  const folder = temporaryFolder(t);
  let connections = 0;
  const server = createServer(() => (connections += 1));
  server.listen(join(folder, "host.sock"));
  await once(server, "listening");
  t.after(() => server.close());
  const results = await runPython(
    t,
    `
import json, os, socket
def attempt(action):
    try: action(); return "done"
    except OSError as error: return os.strerror(error.errno)
pair = lambda kind: (lambda: socket.socketpair(socket.AF_UNIX, kind))
print(json.dumps({
  "exists": os.path.exists("/data/host.sock"),
  "unix": attempt(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect("/data/host.sock")),
  "stream pair": attempt(pair(socket.SOCK_STREAM)), "datagram pair": attempt(pair(socket.SOCK_DGRAM)),
  "vsock": attempt(lambda: socket.socket(40, socket.SOCK_STREAM)), "alg": attempt(lambda: socket.socket(38, 5))}))`,
    { binds: [{ source: folder, target: "/data", writable: true }] },
  );
  const denied = "Operation not permitted";
  assert.deepEqual(results, {
    exists: true,
    unix: denied,
    "stream pair": "done",
    "datagram pair": denied,
    vsock: denied,
    alg: denied,
  });
  assert.equal(connections, 0);
});

test("the host channel on descriptor 4 carries lines both ways, and nothing else is open", async (t) => {
  const spec = pluginOf(
    t,
    "main.mjs",
    `
import { readdirSync, readlinkSync } from "node:fs";
import { Socket } from "node:net";
const open = ["3", "4", "5", "6", "7"].filter((fd) => { try { return readlinkSync("/proc/self/fd/" + fd).startsWith("socket:"); } catch { return false; } });
const channel = new Socket({ fd: 4 });
channel.write(JSON.stringify(open) + "\\n");
channel.on("data", (data) => channel.end("echo " + data));`,
  );
  const started = await start(t, { ...spec, hostChannel: true });
  const channel = started.channel ?? assert.fail("no channel");
  const lines = createInterface({ input: channel })[Symbol.asyncIterator]();
  assert.equal((await lines.next()).value, '["4"]');
  channel.write("hello\n");
  assert.equal((await lines.next()).value, "echo hello");
  assert.deepEqual(await started.exited, { code: 0, signal: null, cause: "exit" });
});

test("without the host channel descriptor 4 is closed", async (t) => {
  const source = "import json, os\ntry: os.fstat(4); print('true')\nexcept OSError: print('false')";
  assert.equal(await runPython(t, source), false);
});

test("sees only its own processes", async (t) => {
  const pids = await runPython(
    t,
    "import json, os\nprint(json.dumps([p for p in os.listdir('/proc') if p.isdigit()]))",
  );
  // Bubblewrap's pid 1 and itself.
  assert.deepEqual(pids, ["1", "2"]);
});

test("can write to /tmp and /dev/shm, and to nothing else", async (t) => {
  const folder = temporaryFolder(t);
  const results = await runPython(
    t,
    `
import json, os
def writable(folder):
    try:
        with open(folder + "/probe", "w") as file: file.write("x")
        return True
    except OSError: return False
print(json.dumps({folder: writable(folder) for folder in ["/", "/etc", "/usr", "/usr/bin", "/dev", "/dev/shm", "/proc", "/plugin", "/granted", "/tmp"]}))`,
    { binds: [{ source: folder, target: "/granted", writable: false }] },
  );
  const open = Object.entries(results as Record<string, boolean>).flatMap(([path, yes]) => (yes ? [path] : []));
  assert.deepEqual(open, ["/dev/shm", "/tmp"]);
  assert.ok(!existsSync(join(folder, "probe")));
});

test("cannot change the kernel's settings or the host's devices, also when the host runs as root", async (t) => {
  const before = statSync("/dev/null").mode;
  const results = await runPython(
    t,
    `
import json, os
found = []
for folder, folders, files in os.walk("/proc"):
    if folder == "/proc": folders[:] = [f for f in folders if not f.isdigit() and f not in ("self", "thread-self")]
    for file in files:
        try: os.close(os.open(folder + "/" + file, os.O_WRONLY | os.O_NONBLOCK)); found.append(folder + "/" + file)
        except OSError: pass
for name in ["null", "zero", "full", "random", "urandom", "tty"]:
    try: os.chmod("/dev/" + name, os.stat("/dev/" + name).st_mode & 0o777); found.append("/dev/" + name)
    except OSError: pass
open("/dev/null", "w").write("still of use")
print(json.dumps(found))`,
  );
  assert.deepEqual(results, []);
  assert.equal(statSync("/dev/null").mode, before);
});

test("a granted folder is read at its path, a writable one written through to the host", async (t) => {
  const [readable, writable, file] = [temporaryFolder(t), temporaryFolder(t), join(temporaryFolder(t), "one.txt")];
  writeFileSync(join(readable, "in.txt"), "from the host");
  writeFileSync(file, "one");
  const text = await runPython(
    t,
    `
import json
with open("/srv/data/out/result.txt", "w") as out: out.write("from the plugin")
print(json.dumps([open("/srv/data/in.txt").read(), open("/tmp/one.txt").read()]))`,
    {
      binds: [
        // The inner one first: order is the sandbox's business.
        { source: writable, target: "/srv/data/out", writable: true },
        { source: (mkdirSync(join(readable, "out")), readable), target: "/srv/data", writable: false },
        { source: file, target: "/tmp/one.txt", writable: false },
      ],
    },
  );
  assert.deepEqual(text, ["from the host", "one"]);
  assert.equal(readFileSync(join(writable, "result.txt"), "utf8"), "from the plugin");
});

test("cannot leave a set-id program in a writable folder", async (t) => {
  const folder = temporaryFolder(t);
  chmodSync(folder, 0o777);
  const results = await runPython(
    t,
    `
import json, os
def attempt(action):
    try: action(); return "done"
    except OSError as error: return error.errno
open("/data/shell", "w").write("#!/bin/sh\\n")
fd = os.open("/data/shell", os.O_RDONLY)
print(json.dumps([attempt(lambda: os.chmod("/data/shell", 0o755)), attempt(lambda: os.chmod("/data/shell", 0o4755)),
  attempt(lambda: os.fchmod(fd, 0o2755)), attempt(lambda: os.open("/data/other", os.O_CREAT | os.O_WRONLY, 0o4755))]))`,
    { binds: [{ source: folder, target: "/data", writable: true }] },
  );
  assert.deepEqual(results, ["done", 1, 1, 1]);
  assert.equal(statSync(join(folder, "shell")).mode & 0o7777, 0o755);
});

test("/tmp is full at its limit", async (t) => {
  const spec = pluginOf(t, "main.py", "");
  const written = await runPython(
    t,
    `
import errno, json
total, error = 0, None
try:
    with open("/tmp/full", "wb", buffering=0) as file:
        while total < 64 << 20: total += file.write(b"x" * 65536)
except OSError as e: error = errno.errorcode[e.errno]
print(json.dumps([total, error]))`,
    { limits: { ...spec.limits, tmpBytes: MEBIBYTE } },
  );
  assert.deepEqual(written, [MEBIBYTE, "ENOSPC"]);
});

test("worker threads, child processes, network interfaces and timers of Node.js still work", async (t) => {
  const { stdout, stderr } = await run(
    t,
    pluginOf(
      t,
      "main.mjs",
      `
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { Worker } from "node:worker_threads";
const worker = new Worker("require('node:worker_threads').parentPort.postMessage(6 * 7)", { eval: true });
const [answer] = await once(worker, "message");
const child = spawn("/bin/cat", { stdio: ["pipe", "pipe", "inherit"] });
child.stdin.end("through a pipe");
const [chunk] = await once(child.stdout, "data");
await writeFile("/tmp/note", "kept");
console.log(JSON.stringify([answer, String(chunk), execFileSync("/bin/echo", ["hi"], { encoding: "utf8" }),
  await readFile("/tmp/note", "utf8"), typeof networkInterfaces()]));`,
    ),
  );
  assert.deepEqual(stdout === "" ? stderr : JSON.parse(stdout), [42, "through a pipe", "hi\n", "kept", "object"]);
});

test("a run time outside of /usr works at the path it is given", async (t) => {
  const spec = pluginOf(t, "main.mjs", "console.log(process.execPath)");
  const { stdout } = await run(t, {
    ...spec,
    binds: [{ ...NODE, target: "/opt/deep/down/node" }],
    command: ["/opt/deep/down/node", "main.mjs"],
  });
  assert.equal(stdout, "/opt/deep/down/node\n");
});
