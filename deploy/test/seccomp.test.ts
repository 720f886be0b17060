import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { pluginHostProfile, SANDBOX_CALLS } from "../seccomp/profile.ts";
import { ROOT } from "./support/tools.ts";

interface Profile {
  readonly defaultAction: string;
  readonly syscalls: readonly { names: readonly string[]; action: string; errnoRet?: number }[];
}

const profile = pluginHostProfile() as Profile;
const allowed = profile.syscalls.filter(({ action }) => action === "SCMP_ACT_ALLOW").flatMap(({ names }) => names);

test("the profile that engines and the chart read is the one that is written here", () => {
  for (const path of ["deploy/seccomp/plugin-host.json", "deploy/helm/files/plugin-host.json"])
    assert.deepEqual(
      JSON.parse(readFileSync(join(ROOT, path), "utf8")),
      profile,
      `${path}: run "node deploy/seccomp/write.ts"`,
    );
});

test("what is not named is refused", () => {
  assert.equal(profile.defaultAction, "SCMP_ACT_ERRNO");
  assert.equal(new Set(allowed).size, allowed.length);
});

test("the sandbox may be built, and nothing else of the kernel is opened with it", () => {
  for (const call of SANDBOX_CALLS) assert.ok(allowed.includes(call), call);
  const dangerous =
    "ptrace bpf perf_event_open userfaultfd io_uring_setup keyctl add_key request_key kexec_load init_module";
  const more =
    "finit_module reboot setns open_by_handle_at process_vm_writev pidfd_getfd swapon quotactl syslog chroot";
  for (const call of `${dangerous} ${more} clock_settime iopl fsopen move_mount mount_setattr open_tree clone3`.split(
    " ",
  ))
    assert.ok(!allowed.includes(call), call);
});

test("clone3 looks as if the kernel had none, so that libraries take clone", () => {
  const rule = profile.syscalls.find(({ names }) => names.includes("clone3"));
  assert.equal(rule?.errnoRet, 38);
});
