import assert from "node:assert/strict";
import { test } from "node:test";
import { DENIED_SYSCALLS, UNKNOWN_SYSCALLS } from "../../src/sandbox/syscalls.ts";
import { pluginOf, run, runPython } from "./helpers.ts";

const COLUMN = process.arch === "x64" ? 0 : 1;

test("every refused system call is refused by the kernel", async (t) => {
  const numbers = (table: typeof DENIED_SYSCALLS): Record<string, number> =>
    Object.fromEntries(
      Object.entries(table).flatMap(([name, pair]) => (pair[COLUMN] === null ? [] : [[name, pair[COLUMN]]])),
    );
  const results = await runPython(
    t,
    `
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
def call(number):
    ctypes.set_errno(0)
    return [libc.syscall(number, 0, 0, 0, 0, 0, 0), ctypes.get_errno()]
denied = json.loads('${JSON.stringify(numbers(DENIED_SYSCALLS))}')
unknown = json.loads('${JSON.stringify(numbers(UNKNOWN_SYSCALLS))}')
print(json.dumps({"denied": {n: call(k) for n, k in denied.items() if call(k) != [-1, 1]},
  "unknown": {n: call(k) for n, k in unknown.items() if call(k) != [-1, 38]}, "newer": call(470),
  "clone into a user namespace": [libc.syscall(${process.arch === "x64" ? 56 : 220}, 0x10000000 | 17, 0, 0, 0, 0), ctypes.get_errno()],
  "TIOCSTI": [libc.ioctl(0, 0x5412, b"x"), ctypes.get_errno()]}))`,
  );
  assert.deepEqual(results, {
    denied: {},
    unknown: {},
    newer: [-1, 38],
    "clone into a user namespace": [-1, 1],
    TIOCSTI: [-1, 1],
  });
});

test("a call of another architecture ends the process", { skip: process.arch !== "x64" }, async (t) => {
  // int 0x80 enters the kernel as i386, where the numbers mean other calls.
  const spec = pluginOf(
    t,
    "main.py",
    `
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))())`,
  );
  const { stdout, exit } = await run(t, spec);
  assert.deepEqual({ stdout, exit }, { stdout: "", exit: { code: null, signal: "SIGSYS", cause: "signal" } });
});
