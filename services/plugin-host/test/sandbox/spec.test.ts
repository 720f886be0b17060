import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import type { SandboxSpec } from "../../src/sandbox/sandbox.ts";
import { resolveSpec } from "../../src/sandbox/spec.ts";
import { pluginOf, temporaryFolder } from "./helpers.ts";

const invalid = (message: RegExp): { code: string; message: RegExp } => ({ code: "SANDBOX_INVALID_SPEC", message });

test("links in sources are followed", async (t) => {
  const spec = pluginOf(t, "main.py", "");
  const link = join(temporaryFolder(t), "link");
  symlinkSync(spec.root, link);
  const resolved = await resolveSpec({
    ...spec,
    root: link,
    binds: [{ source: link, target: "/data", writable: true }],
  });
  assert.deepEqual(resolved, { ...spec, binds: [{ source: spec.root, target: "/data", writable: true }] });
});

test("sources that lead out of the sandbox are refused, by any name", async (t) => {
  const spec = pluginOf(t, "main.py", "");
  const folder = temporaryFolder(t);
  symlinkSync("/", join(folder, "everything"));
  symlinkSync("/proc", join(folder, "processes"));
  const server = createServer().listen(join(folder, "socket"));
  await once(server, "listening");
  t.after(() => server.close());
  const refused: [source: string, message: RegExp][] = [
    ["/", /is never given to a plugin/],
    ["/proc/1", /is never given to a plugin/],
    ["/sys/kernel", /is never given to a plugin/],
    ["/dev/null", /is never given to a plugin/],
    [join(folder, "everything"), /which is \/, is never given/],
    [join(folder, "processes"), /which is \/proc, is never given/],
    [join(folder, "everything/proc/1"), /is never given/],
    [join(folder, "socket"), /neither a folder nor a regular file/],
    [join(folder, "absent"), /ENOENT/],
    ["relative", /not an absolute path/],
  ];
  for (const [source, message] of refused) {
    await assert.rejects(
      resolveSpec({ ...spec, binds: [{ source, target: "/data", writable: false }] }),
      invalid(message),
    );
    await assert.rejects(resolveSpec({ ...spec, root: source }), invalid(/root/));
  }
  await assert.rejects(resolveSpec({ ...spec, root: join(spec.root, "main.py") }), invalid(/is not a folder/));
});

test("targets are absolute, normalized and outside of the sandbox's own folders", async (t) => {
  const spec = pluginOf(t, "main.py", "");
  const withTarget = (target: string): SandboxSpec => ({
    ...spec,
    binds: [{ source: spec.root, target, writable: false }],
  });
  const crooked = ["", "/", "data", "/data/", "/data//x", "/data/../etc", "/./data", "/data\n", "/data\0"];
  for (const target of crooked) {
    await assert.rejects(resolveSpec(withTarget(target)), invalid(/is not an absolute, normalized path/), target);
  }
  const reserved = [
    "/proc",
    "/proc/self",
    "/dev/shm",
    "/usr",
    "/usr/local",
    "/bin",
    "/lib64/x",
    "/etc/passwd",
    "/plugin/x",
    "/tmp",
    "/sys",
  ];
  for (const target of reserved)
    await assert.rejects(resolveSpec(withTarget(target)), invalid(/belongs to the sandbox/), target);
  for (const target of ["/tmp/x", "/data", "/home/me/räume und mehr", "/runtime/node", "/library", "/process"]) {
    await resolveSpec(withTarget(target));
  }
  const twice = [...withTarget("/data").binds, ...withTarget("/data").binds];
  await assert.rejects(resolveSpec({ ...spec, binds: twice }), invalid(/two binds have the target \/data/));
});

test("limits, names, commands and environments outside of their range are refused", async (t) => {
  const spec = pluginOf(t, "main.py", "");
  const limits: [Partial<SandboxSpec["limits"]>, RegExp][] = [
    [{ memoryBytes: 1 }, /limits\.memoryBytes/],
    [{ memoryBytes: Number.NaN }, /limits\.memoryBytes/],
    [{ memoryBytes: Number.POSITIVE_INFINITY }, /limits\.memoryBytes/],
    [{ cpus: 0 }, /limits\.cpus/],
    [{ cpus: Number.NaN }, /limits\.cpus/],
    [{ maxProcesses: 1.5 }, /limits\.maxProcesses/],
    [{ maxOpenFiles: 3 }, /limits\.maxOpenFiles/],
    // Zero would be a tmpfs without a limit.
    [{ tmpBytes: 0 }, /limits\.tmpBytes/],
  ];
  for (const [change, message] of limits) {
    await assert.rejects(resolveSpec({ ...spec, limits: { ...spec.limits, ...change } }), invalid(message));
  }
  await assert.rejects(resolveSpec({ ...spec, command: ["--help"] }), invalid(/neither a path nor a name/));
  await assert.rejects(resolveSpec({ ...spec, command: ["/bin/sh", "a\0b"] }), invalid(/NUL/));
  await assert.rejects(
    resolveSpec({ ...spec, env: { "A B": "" } }),
    invalid(/not the name of an environment variable/),
  );
  await assert.rejects(resolveSpec({ ...spec, name: "a\nb" }), invalid(/control characters/));
  await assert.rejects(resolveSpec({ ...spec, env: { KEY: "private\0value" } }), (error: Error) => {
    assert.match(error.message, /KEY contains a NUL/);
    assert.doesNotMatch(error.message, /private/);
    return true;
  });
});

test("a folder with a name full of shell syntax is only a name", async (t) => {
  const spec = pluginOf(t, "main.py", "");
  const odd = join(temporaryFolder(t), `$(touch x) "'; --bind`);
  mkdirSync(odd);
  const { binds } = await resolveSpec({ ...spec, binds: [{ source: odd, target: "/data/$(id)", writable: false }] });
  assert.deepEqual(binds, [{ source: odd, target: "/data/$(id)", writable: false }]);
});
