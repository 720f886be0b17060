import assert from "node:assert/strict";
import { mkdir, mkdtemp, realpath, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { checkGrants, GrantsRefused, Guard, PermissionDenied } from "../../src/permissions/guard.ts";
import { mountsOf } from "../../src/permissions/mounts.ts";

const refused =
  (pattern: RegExp, malformed = false) =>
  (error: unknown) =>
    error instanceof GrantsRefused && error.malformed === malformed && pattern.test(error.message);

test("grants must cover what is required, by their own rules", () => {
  checkGrants(["fs:read:/srv/docs", "secrets:lease:a"], ["fs:read:/srv/docs/sub"]);
  checkGrants(["fs:write:/srv/docs"], ["fs:read:/srv/docs"]);
  assert.throws(
    () => checkGrants(["fs:read:/srv/docs"], ["fs:write:/srv/docs", "secrets:lease:a"]),
    refused(/not granted: fs:write:\/srv\/docs, secrets:lease:a/),
  );
  assert.throws(() => checkGrants(["fs:read:/srv/docs"], ["fs:read:/srv/docs-private"]), refused(/docs-private/));
});

test("what this version cannot enforce is refused, not ignored", () => {
  assert.throws(() => checkGrants(["net:outbound:example.com"], []), refused(/no network/));
  assert.throws(() => checkGrants(["process:spawn"], []), refused(/this version grants only/));
  assert.throws(() => checkGrants(["data:storage"], []), refused(/this version grants only/));
  assert.throws(() => checkGrants(["fs:read:../etc"], []), refused(/fs:read/, true));
});

test("the guard denies what no grant names, malformed wishes among them", () => {
  const guard = new Guard(["secrets:lease:db.password"]);
  guard.require("secrets:lease:db.password");
  for (const wish of [
    "secrets:lease:db",
    "secrets:lease:db.password.x",
    "secrets:lease:*",
    "secrets:lease:",
    "nonsense",
    "fs:read:/",
  ])
    assert.throws(() => guard.require(wish), PermissionDenied, wish);
  assert.throws(() => new Guard([]).require("secrets:lease:a"), PermissionDenied);
});

test("mounts are the granted paths, outermost first, and one that is granted twice is writable if one grant says so", async (t) => {
  const root = await realpath(await mkdtemp(join(tmpdir(), "warren-mounts-")));
  t.after(() => rm(root, { recursive: true, force: true }));
  await mkdir(join(root, "a", "b"), { recursive: true });
  const mounts = await mountsOf(
    [`fs:read:${root}/a/b`, `fs:write:${root}/a`, `fs:read:${root}/a`, "secrets:lease:x"],
    [],
  );
  assert.deepEqual(mounts, [
    { source: `${root}/a`, target: `${root}/a`, writable: true },
    { source: `${root}/a/b`, target: `${root}/a/b`, writable: false },
  ]);
});

test("paths that are missing, lead over links, cover the sandbox's own folders or the packages are refused", async (t) => {
  const root = await realpath(await mkdtemp(join(tmpdir(), "warren-mounts-")));
  t.after(() => rm(root, { recursive: true, force: true }));
  await mkdir(join(root, "store", "x"), { recursive: true });
  await symlink("/etc", join(root, "link"));
  const mount = (path: string) => mountsOf([`fs:read:${path}`], [join(root, "store")]);
  await assert.rejects(mount(join(root, "nothing")), refused(/cannot be found on this host \(ENOENT\)/));
  await assert.rejects(mount(join(root, "link")), refused(/symbolic link/));
  await assert.rejects(mount(join(root, "link", "ssl")), refused(/symbolic link/));
  await assert.rejects(mount(join(root, "store", "x")), refused(/packages of the plugins/));
  await assert.rejects(mount(root), refused(/packages of the plugins/));
  for (const path of ["/", "/tmp", "/etc", "/proc/1", "/usr/bin", "/dev", "/plugin", "/runtime/node"])
    await assert.rejects(mount(path), refused(/of its own/), path);
});
