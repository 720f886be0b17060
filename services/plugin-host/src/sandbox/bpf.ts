/**
 * Classic BPF, as far as seccomp needs it: `struct sock_filter` of Linux, `<linux/filter.h>`, over `struct seccomp_data`
 * of `<linux/seccomp.h>`. Both architectures we know are little-endian.
 */

/** One instruction; `jt` and `jf` count instructions to skip. */
export interface BpfInstruction {
  code: number;
  jt: number;
  jf: number;
  k: number;
}

/** The opcodes that are used. */
export const BPF = {
  loadWord: 0x20,
  jumpIfEqual: 0x15,
  jumpIfGreater: 0x25,
  jumpIfBits: 0x45,
  and: 0x54,
  return: 0x06,
} as const;

/** Offsets of `struct seccomp_data`. */
export const SECCOMP_DATA = {
  number: 0,
  architecture: 4,
  /** The low 32 bits of an argument: what the kernel itself looks at for every argument that is an `int`. */
  argument: (index: number): number => 16 + 8 * index,
} as const;

/** Verdicts of a seccomp program. */
export const VERDICT = {
  allow: 0x7fff0000,
  killProcess: 0x80000000,
  errno: (errno: number): number => 0x00050000 | errno,
} as const;

/** Loads a word of the data into the accumulator. */
export function load(offset: number): BpfInstruction {
  return { code: BPF.loadWord, jt: 0, jf: 0, k: offset };
}

/** Keeps the given bits of the accumulator. */
export function and(mask: number): BpfInstruction {
  return { code: BPF.and, jt: 0, jf: 0, k: mask };
}

/** Ends the program. */
export function verdict(value: number): BpfInstruction {
  return { code: BPF.return, jt: 0, jf: 0, k: value };
}

/** Runs `then` when the accumulator compares so with `k`, and goes on behind it otherwise. */
export function when(
  comparison: "jumpIfEqual" | "jumpIfGreater" | "jumpIfBits",
  k: number,
  then: readonly BpfInstruction[],
): BpfInstruction[] {
  return [{ code: BPF[comparison], jt: 0, jf: distance(then.length), k }, ...then];
}

/** Ends the program with `value` when the accumulator is one of `numbers`. */
export function whenOneOf(numbers: readonly number[], value: number): BpfInstruction[] {
  if (numbers.length === 0) return [];
  const tests = numbers.map((k, index): BpfInstruction => {
    const last = index === numbers.length - 1;
    return { code: BPF.jumpIfEqual, jt: distance(numbers.length - 1 - index), jf: last ? 1 : 0, k };
  });
  return [...tests, verdict(value)];
}

/** The bytes the kernel reads: eight for each instruction. */
export function encode(program: readonly BpfInstruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * 8);
  for (const [index, { code, jt, jf, k }] of program.entries()) {
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(jt, index * 8 + 2);
    bytes.writeUInt8(jf, index * 8 + 3);
    bytes.writeUInt32LE(k >>> 0, index * 8 + 4);
  }
  return bytes;
}

function distance(instructions: number): number {
  if (instructions > 255) throw new RangeError(`a BPF jump over ${instructions} instructions does not fit in one byte`);
  return instructions;
}
