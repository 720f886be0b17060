import assert from "node:assert/strict";
import { constants } from "node:os";
import { describe, test } from "node:test";
import { BPF, encode, VERDICT, when } from "../../src/sandbox/bpf.ts";
import { buildSeccompProgram } from "../../src/sandbox/seccomp.ts";
import type { SandboxArchitecture } from "../../src/sandbox/syscalls.ts";
import {
  AUDIT_ARCHITECTURE,
  DENIED_SYSCALLS,
  JUDGED_SYSCALLS,
  LAST_KNOWN_SYSCALL,
  numbersOf,
  UNKNOWN_SYSCALLS,
  UNMAPPED_MEMORY_SYSCALLS,
} from "../../src/sandbox/syscalls.ts";

const EPERM = VERDICT.errno(constants.errno.EPERM);
const ENOSYS = VERDICT.errno(constants.errno.ENOSYS);
const ARCHITECTURES: SandboxArchitecture[] = ["x64", "arm64"];

/** Runs a program the way the kernel does. */
function judge(program: Buffer, architecture: number, number: number, args: readonly (number | bigint)[] = []): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number, 0);
  data.writeUInt32LE(architecture, 4);
  for (const [index, value] of args.entries()) data.writeBigUInt64LE(BigInt(value), 16 + 8 * index);
  let accumulator = 0;
  for (let at = 0; at < program.length / 8; at += 1) {
    const [code, k] = [program.readUInt16LE(at * 8), program.readUInt32LE(at * 8 + 4)];
    const jump = (holds: boolean): number => program.readUInt8(at * 8 + (holds ? 2 : 3));
    if (code === BPF.loadWord) accumulator = data.readUInt32LE(k);
    else if (code === BPF.and) accumulator = (accumulator & k) >>> 0;
    else if (code === BPF.jumpIfEqual) at += jump(accumulator === k);
    else if (code === BPF.jumpIfGreater) at += jump(accumulator > k);
    else if (code === BPF.jumpIfBits) at += jump((accumulator & k) !== 0);
    else if (code === BPF.return) return k;
    else throw new Error(`unknown opcode ${code} at ${at}`);
  }
  throw new Error("the program runs off its end, which the kernel refuses to load");
}

for (const architecture of ARCHITECTURES) {
  describe(`the filter for ${architecture}`, () => {
    const program = buildSeccompProgram(architecture, { countsUnmappedMemory: true });
    const native = AUDIT_ARCHITECTURE[architecture];
    const of = (name: keyof typeof JUDGED_SYSCALLS): number | null =>
      JUDGED_SYSCALLS[name][architecture === "x64" ? 0 : 1];
    const call = (name: keyof typeof JUDGED_SYSCALLS, ...args: (number | bigint)[]): number =>
      judge(program, native, of(name) ?? assert.fail(`${name} is not a call of ${architecture}`), args);

    test("kills a process that makes calls of another architecture", () => {
      for (const other of [0x40000003, ...Object.values(AUDIT_ARCHITECTURE).filter((value) => value !== native)]) {
        assert.equal(judge(program, other, 0), VERDICT.killProcess);
      }
    });

    test("refuses every listed call, whatever its arguments", () => {
      for (const number of numbersOf(DENIED_SYSCALLS, architecture)) {
        assert.equal(judge(program, native, number), EPERM, `call ${number}`);
        assert.equal(judge(program, native, number, [~0n & 0xffffffffffffffffn]), EPERM, `call ${number}`);
      }
    });

    test("says of calls whose arguments it cannot see, of x32's and of newer ones that there are none", () => {
      const newer = [LAST_KNOWN_SYSCALL + 1, 1000, 0x40000000, 0x40000000 + 101, 0xffffffff];
      for (const number of [...numbersOf(UNKNOWN_SYSCALLS, architecture), ...newer]) {
        assert.equal(judge(program, native, number), ENOSYS, `call ${number}`);
      }
    });

    test("allows every other call", () => {
      const special = [DENIED_SYSCALLS, UNKNOWN_SYSCALLS, JUDGED_SYSCALLS].flatMap((table) =>
        numbersOf(table, architecture),
      );
      for (let number = 0; number <= LAST_KNOWN_SYSCALL; number += 1) {
        if (!special.includes(number)) assert.equal(judge(program, native, number), VERDICT.allow, `call ${number}`);
      }
    });

    test("refuses memory without a mapping only where nothing counts it", () => {
      const strict = buildSeccompProgram(architecture, { countsUnmappedMemory: false });
      for (const number of numbersOf(UNMAPPED_MEMORY_SYSCALLS, architecture)) {
        assert.equal(judge(program, native, number), VERDICT.allow);
        assert.equal(judge(strict, native, number), ENOSYS);
      }
    });

    test("lets clone make threads and processes, but no namespaces", () => {
      assert.equal(call("clone", 0x3d0f00), VERDICT.allow);
      assert.equal(call("clone", 17), VERDICT.allow);
      for (const flag of [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]) {
        assert.equal(call("clone", flag | 17), EPERM, flag.toString(16));
      }
    });

    test("refuses to type into terminals, also with rubbish in the half of the argument the kernel ignores", () => {
      assert.equal(call("ioctl", 0, 0x5401), VERDICT.allow);
      for (const request of [0x5412n, 0x541cn, 0x100005412n]) assert.equal(call("ioctl", 0, request), EPERM);
    });

    test("allows internet and routing sockets only", () => {
      for (const domain of [2, 10]) assert.equal(call("socket", domain, 1, 6), VERDICT.allow);
      assert.equal(call("socket", 16, 3, 0), VERDICT.allow);
      assert.equal(call("socket", 16, 3, 12), EPERM, "netfilter");
      for (const domain of [1n, 0x100000001n, 17n, 38n, 40n])
        assert.equal(call("socket", domain, 1), EPERM, `${domain}`);
    });

    test("allows pairs of stream sockets, not of datagram sockets, which could be sent elsewhere", () => {
      assert.equal(call("socketpair", 1, 1), VERDICT.allow);
      assert.equal(call("socketpair", 1, 1 | 0o2000000 | 0o4000), VERDICT.allow);
      assert.equal(call("socketpair", 1, 2), EPERM);
      assert.equal(call("socketpair", 1, 5 | 0o2000000), EPERM);
      assert.equal(call("socketpair", 2, 1), EPERM);
    });

    test("refuses set-id files, however they are made", () => {
      const modeAt = { chmod: 1, fchmod: 1, fchmodat: 2, fchmodat2: 2, mknod: 1, mknodat: 2, creat: 1 } as const;
      for (const [name, index] of Object.entries(modeAt) as [keyof typeof modeAt, number][]) {
        if (of(name) === null) continue;
        const withMode = (mode: number): number => call(name, ...Array.from({ length: index }, () => 0), mode);
        assert.equal(withMode(0o1777), VERDICT.allow, name);
        assert.equal(withMode(0o4755), EPERM, name);
        assert.equal(withMode(0o2755), EPERM, name);
      }
      for (const [name, before] of [
        ["open", [0]],
        ["openat", [0, 0]],
      ] as const) {
        if (of(name) === null) continue;
        assert.equal(call(name, ...before, 0o102, 0o644), VERDICT.allow, name);
        assert.equal(call(name, ...before, 0o102, 0o4755), EPERM, name);
        assert.equal(call(name, ...before, 0o20200002, 0o4755), EPERM, `${name} with O_TMPFILE`);
        assert.equal(call(name, ...before, 0o200000, 0o4755), VERDICT.allow, `${name} of a folder reads no mode`);
      }
    });
  });
}

test("a jump that does not fit in a byte is refused when the program is built", () => {
  const far = Array.from({ length: 256 }, () => ({ code: BPF.return, jt: 0, jf: 0, k: 0 }));
  assert.throws(() => encode(when("jumpIfEqual", 1, far)), RangeError);
});
