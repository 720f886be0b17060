import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { leafName, removeCgroups, staleLeaves } from "../../src/sandbox/cgroup.ts";
import { openCgroups, parseCgroupMounts } from "../../src/sandbox/cgroup-mounts.ts";
import { v1Settings } from "../../src/sandbox/cgroup-v1.ts";
import { cgroupV2Driver, prepareCgroup, v2Settings } from "../../src/sandbox/cgroup-v2.ts";
import { MEBIBYTE, temporaryFolder, until } from "./helpers.ts";

const LIMITS = { memoryBytes: 64 * MEBIBYTE, cpus: 1.5, maxProcesses: 30, maxOpenFiles: 64, tmpBytes: MEBIBYTE };

test("limits become the files of version 2, with bubblewrap's own two tasks on top", () => {
  assert.deepEqual(v2Settings(LIMITS), [
    ["memory.max", "67108864"],
    ["memory.swap.max", "0"],
    ["memory.oom.group", "1"],
    ["pids.max", "32"],
    ["cpu.max", "150000 100000"],
  ]);
});

test("limits become the files of version 1, and the quota is never below what the kernel takes", () => {
  assert.deepEqual(v1Settings({ ...LIMITS, cpus: 0.001 }), [
    ["memory", "memory.limit_in_bytes", "67108864"],
    ["memory", "memory.memsw.limit_in_bytes", "67108864"],
    ["memory", "memory.swappiness", "0"],
    ["memory", "memory.oom_control", "0"],
    ["pids", "pids.max", "32"],
    ["cpu", "cpu.cfs_period_us", "100000"],
    ["cpu", "cpu.cfs_quota_us", "1000"],
  ]);
});

test("hierarchies are found: version 2 alone, version 1 beside it, and a part of one in a container", () => {
  const two = parseCgroupMounts(
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate",
    "0::/system.slice/warren.service\n",
  );
  assert.deepEqual(two, [
    { version: "v2", controllers: [], mountPoint: "/sys/fs/cgroup", own: "/sys/fs/cgroup/system.slice/warren.service" },
  ]);
  const mixed = parseCgroupMounts(
    [
      "22 1 8:1 / / rw - ext4 /dev/sda rw",
      "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory",
      "36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
      "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
    ].join("\n"),
    "4:memory:/docker/abc/inner\n2:cpu,cpuacct:/a:b\n0::/\n",
  );
  assert.deepEqual(
    mixed.map(({ version, own }) => [version, own]),
    [
      ["v1", "/sys/fs/cgroup/memory/inner"],
      ["v1", "/sys/fs/cgroup/cpu,cpuacct/a:b"],
      ["v2", "/sys/fs/cgroup/unified/"],
    ],
  );
});

test("a leaf is stale when the process that made it is gone, or its pid belongs to another", async (t) => {
  const folder = temporaryFolder(t);
  const ours = await leafName("acme/clock ☃");
  assert.match(ours, /^warren-\d+-\d+-\d+-[0-9a-f]{8}-acme_clock__$/);
  const [, namespace, pid, started] = /^warren-(\d+)-(\d+)-(\d+)/.exec(ours) ?? [];
  const leaf = (parts: unknown[]): string => `warren-${parts.join("-")}-0123abcd-x`;
  const recycled = leaf([namespace, pid, Number(started) + 1]);
  const dead = leaf([namespace, 2 ** 22 + 1, 5]);
  const elsewhere = leaf([Number(namespace) + 1, 2 ** 22 + 1, 5]);
  for (const name of [ours, recycled, dead, elsewhere, "warren-of-somebody-else", "other"])
    mkdirSync(join(folder, name));
  assert.deepEqual((await staleLeaves(folder)).toSorted(), [recycled, dead].toSorted());
});

const mounts = parseCgroupMounts(
  readFileSync("/proc/self/mountinfo", "utf8"),
  readFileSync("/proc/self/cgroup", "utf8"),
);
const unified = mounts.find(({ version }) => version === "v2");

test("a version 2 cgroup is removed with all that runs and forks in it", async (t) => {
  const folder = unified === undefined ? "" : join(unified.own, `test-${randomUUID()}`);
  try {
    mkdirSync(folder);
  } catch {
    return t.skip("this user may not make cgroups in a version 2 hierarchy");
  }
  const script = 'echo $$ > "$1/cgroup.procs" && { sleep 60 & sleep 60 & echo up; wait; }';
  const child = spawn("/bin/sh", ["-c", script, "sh", folder], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  assert.equal(await removeCgroups([folder]), true);
  assert.ok(!existsSync(folder));
  assert.deepEqual(await ended, [null, "SIGKILL"]);
});

test("a version 2 cgroup whose limits cannot be written is no sandbox, and is not left behind", async (t) => {
  const parent = unified === undefined ? "" : join(unified.own, `test-${randomUUID()}`);
  try {
    mkdirSync(parent);
  } catch {
    return t.skip("this user may not make cgroups in a version 2 hierarchy");
  }
  t.after(() => rmdirSync(parent));
  // Nobody has shared the controllers out to this parent.
  await assert.rejects(cgroupV2Driver(parent).createLeaf("x", LIMITS), /memory\.max/);
  assert.deepEqual(
    readdirSync(parent, { withFileTypes: true }).filter((entry) => entry.isDirectory()),
    [],
  );
});

test("a version 2 parent is made and shares out its controllers on the way down", async (t) => {
  const available = unified === undefined ? "" : readFileSync(join(unified.mountPoint, "cgroup.controllers"), "utf8");
  const controller = available
    .trim()
    .split(" ")
    .find((name) => ["hugetlb", "pids", "misc"].includes(name));
  if (unified === undefined || controller === undefined) return t.skip("there is no controller to share out");
  const path = `test-${randomUUID()}`;
  try {
    mkdirSync(join(unified.mountPoint, path));
  } catch {
    return t.skip("this user may not make cgroups at the root of the hierarchy");
  }
  const shared = (folder: string): string[] =>
    readFileSync(join(folder, "cgroup.subtree_control"), "utf8").trim().split(" ");
  const before = shared(unified.mountPoint).includes(controller);
  const inner = join(unified.mountPoint, path, "inner");
  t.after(async () => {
    await removeCgroups([inner]);
    await removeCgroups([join(unified.mountPoint, path)]);
    // Another run of this test may be using it at this moment; then that one is the last.
    const others = readdirSync(unified.mountPoint).some((name) => name.startsWith("test-"));
    if (!before && !others) writeFileSync(join(unified.mountPoint, "cgroup.subtree_control"), `-${controller}`);
  });
  assert.equal(await prepareCgroup(unified.mountPoint, `/${path}/inner`, [controller]), inner);
  assert.ok(shared(inner).includes(controller));
});

test("a leaf of this machine's cgroups limits, counts its members and goes away", async (t) => {
  let driver;
  try {
    driver = await openCgroups("auto");
  } catch (error) {
    return t.skip(`no cgroups to write to: ${String(error)}`);
  }
  const leaf = await driver.createLeaf("acme/clock", LIMITS);
  t.after(() => leaf.remove());
  const join = 'for file in "$@"; do echo $$ > "$file" || exit 1; done; echo in; sleep 60 & sleep 60 & sleep 60 & wait';
  const child = spawn("/bin/sh", ["-c", join, "sh", ...leaf.membershipFiles], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  // Four, without the two that would be bubblewrap's.
  await until(async () => (await leaf.usage()).processes === 2);
  assert.ok((await leaf.usage()).memoryBytes > 0);
  assert.equal(await leaf.memoryKills(), 0);
  assert.equal(await leaf.remove(), true);
  await ended;
  for (const file of leaf.membershipFiles) assert.ok(!existsSync(file), basename(file));
  assert.equal(await leaf.remove(), true);
});
