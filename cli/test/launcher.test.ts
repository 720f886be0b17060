import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const launcher = fileURLToPath(new URL("../bin/warren", import.meta.url));

test("it starts from any folder, through links, where PATH has no Node.js new enough", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "warren-launcher-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await symlink(launcher, join(folder, "absolute"));
  await symlink("absolute", join(folder, "warren"));
  const { stdout } = await run(join(folder, "warren"), ["--version"], { cwd: folder, env: { PATH: "/usr/bin:/bin" } });
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

test("it passes on arguments and the exit code", async () => {
  await assert.rejects(run(launcher, ["secret", "set", "a b", "*"]), { code: 2 });
});

test("a reader that stops early is no failure", async () => {
  const { stderr } = await run("sh", ["-c", `"${launcher}" --help | head -n 1`]);
  assert.equal(stderr, "");
});
