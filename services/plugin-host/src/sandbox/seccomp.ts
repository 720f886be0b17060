import { constants } from "node:os";
import type { BpfInstruction } from "./bpf.ts";
import { and, encode, load, SECCOMP_DATA, VERDICT, verdict, when, whenOneOf } from "./bpf.ts";
import type { SandboxArchitecture } from "./syscalls.ts";
import {
  AUDIT_ARCHITECTURE,
  DENIED_SYSCALLS,
  JUDGED_SYSCALLS,
  LAST_KNOWN_SYSCALL,
  numbersOf,
  UNKNOWN_SYSCALLS,
  UNMAPPED_MEMORY_SYSCALLS,
} from "./syscalls.ts";

/** What the filter has to know about where it is used. */
export interface SeccompOptions {
  /** A cgroup counts memory that no process maps (memfd, System V); without one, making such memory is refused. */
  countsUnmappedMemory: boolean;
}

const DENY = VERDICT.errno(constants.errno.EPERM);
const NO_SUCH_CALL = VERDICT.errno(constants.errno.ENOSYS);

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET of `<linux/sched.h>`. */
const CLONE_NEW_NAMESPACES = 0x7e020000;
/** Requests that type into a terminal: TIOCSTI, and TIOCLINUX with its selection. */
const TERMINAL_INPUT_REQUESTS = [0x5412, 0x541c];
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const NETLINK_ROUTE = 0;
const SOCK_STREAM = 1;
const SOCKET_TYPE_MASK = 0xf;
/** O_CREAT and the bit of O_TMPFILE that O_DIRECTORY does not share: the flags with which a mode is read. */
const FLAGS_WITH_MODE = 0o100 | 0o20000000;
const SET_ID_BITS = 0o6000;

/**
 * Builds the filter of a sandbox: bytes of `struct sock_filter[]`, ready for `bwrap --seccomp`.
 * A call of another architecture kills the process; dangerous calls answer EPERM; calls newer than the table, and x32's,
 * answer ENOSYS.
 */
export function buildSeccompProgram(architecture: SandboxArchitecture, options: SeccompOptions): Buffer {
  const unmapped = options.countsUnmappedMemory ? [] : numbersOf(UNMAPPED_MEMORY_SYSCALLS, architecture);
  return encode([
    load(SECCOMP_DATA.architecture),
    ...unless(AUDIT_ARCHITECTURE[architecture], VERDICT.killProcess),
    load(SECCOMP_DATA.number),
    // The x32 calls are numbers with bit 30 set, so this covers them too.
    ...when("jumpIfGreater", LAST_KNOWN_SYSCALL, [verdict(NO_SUCH_CALL)]),
    ...whenOneOf([...numbersOf(UNKNOWN_SYSCALLS, architecture), ...unmapped], NO_SUCH_CALL),
    ...whenOneOf(numbersOf(DENIED_SYSCALLS, architecture), DENY),
    ...judgedCalls(architecture),
    verdict(VERDICT.allow),
  ]);
}

function judgedCalls(architecture: SandboxArchitecture): BpfInstruction[] {
  const rules: Record<keyof typeof JUDGED_SYSCALLS, BpfInstruction[]> = {
    clone: denyBits(0, CLONE_NEW_NAMESPACES),
    ioctl: [load(SECCOMP_DATA.argument(1)), ...whenOneOf(TERMINAL_INPUT_REQUESTS, DENY), verdict(VERDICT.allow)],
    socket: internetSocketsOnly(),
    socketpair: connectedPairsOnly(),
    // A set-id file made in a writable folder would be one on the host too, where no mount option disarms it.
    chmod: denyBits(1, SET_ID_BITS),
    fchmod: denyBits(1, SET_ID_BITS),
    fchmodat: denyBits(2, SET_ID_BITS),
    fchmodat2: denyBits(2, SET_ID_BITS),
    mknod: denyBits(1, SET_ID_BITS),
    mknodat: denyBits(2, SET_ID_BITS),
    creat: denyBits(1, SET_ID_BITS),
    open: denySetIdOnCreation(1),
    openat: denySetIdOnCreation(2),
  };
  return Object.entries(JUDGED_SYSCALLS).flatMap(([name, [x64, arm64]]) => {
    const number = architecture === "x64" ? x64 : arm64;
    return number === null ? [] : when("jumpIfEqual", number, rules[name as keyof typeof JUDGED_SYSCALLS]);
  });
}

function denyBits(argument: number, bits: number): BpfInstruction[] {
  return [load(SECCOMP_DATA.argument(argument)), ...when("jumpIfBits", bits, [verdict(DENY)]), verdict(VERDICT.allow)];
}

/** The mode follows the flags, and means something only when a file is made; else it is whatever the register held. */
function denySetIdOnCreation(flags: number): BpfInstruction[] {
  return [
    load(SECCOMP_DATA.argument(flags)),
    ...when("jumpIfBits", FLAGS_WITH_MODE, denyBits(flags + 1, SET_ID_BITS)),
    verdict(VERDICT.allow),
  ];
}

/**
 * Internet sockets, which end in the empty network namespace, and the routing socket with which libraries list
 * interfaces. Others leave the namespace (AF_UNIX by path, AF_VSOCK to the hypervisor) or open kernel code (AF_ALG).
 */
function internetSocketsOnly(): BpfInstruction[] {
  return [
    load(SECCOMP_DATA.argument(0)),
    ...whenOneOf([AF_INET, AF_INET6], VERDICT.allow),
    ...when("jumpIfEqual", AF_NETLINK, [
      load(SECCOMP_DATA.argument(2)),
      ...when("jumpIfEqual", NETLINK_ROUTE, [verdict(VERDICT.allow)]),
    ]),
    verdict(DENY),
  ];
}

/** Stream pairs stay with each other; an AF_UNIX datagram socket from a pair could still be sent to any path in sight. */
function connectedPairsOnly(): BpfInstruction[] {
  return [
    load(SECCOMP_DATA.argument(0)),
    ...unless(AF_UNIX, DENY),
    load(SECCOMP_DATA.argument(1)),
    and(SOCKET_TYPE_MASK),
    ...unless(SOCK_STREAM, DENY),
    verdict(VERDICT.allow),
  ];
}

function unless(value: number, otherwise: number): BpfInstruction[] {
  const [test, ...rest] = when("jumpIfEqual", value, [verdict(otherwise)]);
  return test === undefined ? [] : [{ ...test, jt: test.jf, jf: 0 }, ...rest];
}
