/**
 * System call numbers: `arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h` of Linux.
 * From 424 on every architecture uses the same ones.
 */

/** Architectures a filter can be built for, as `process.arch` names them. */
export type SandboxArchitecture = "x64" | "arm64";

/** `AUDIT_ARCH_*` of `<linux/audit.h>`. */
export const AUDIT_ARCHITECTURE: Readonly<Record<SandboxArchitecture, number>> = {
  x64: 0xc000003e,
  arm64: 0xc00000b7,
};

/** The last call this table has judged (`mseal`, Linux 6.10). What is newer answers ENOSYS until it has been looked at. */
export const LAST_KNOWN_SYSCALL = 462;

/** Name → [x86-64, arm64]; null where the architecture has no such call. */
export type SyscallTable = Readonly<Record<string, readonly [x64: number | null, arm64: number | null]>>;

/** Refused with EPERM, whatever the arguments. */
export const DENIED_SYSCALLS: SyscallTable = {
  // Reading and steering other processes.
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  process_madvise: [440, 440],
  process_mrelease: [448, 448],
  kcmp: [312, 272],
  pidfd_getfd: [438, 438],
  // The file system tree and namespaces.
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  open_tree: [428, 428],
  move_mount: [429, 429],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  mount_setattr: [442, 442],
  statmount: [457, 457],
  listmount: [458, 458],
  unshare: [272, 97],
  setns: [308, 268],
  name_to_handle_at: [303, 264],
  open_by_handle_at: [304, 265],
  swapon: [167, 224],
  swapoff: [168, 225],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  fanotify_init: [300, 262],
  fanotify_mark: [301, 263],
  // Large parts of the kernel that plugins do not need.
  bpf: [321, 280],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  memfd_secret: [447, 447],
  keyctl: [250, 219],
  add_key: [248, 217],
  request_key: [249, 218],
  mbind: [237, 235],
  set_mempolicy: [238, 237],
  set_mempolicy_home_node: [450, 450],
  migrate_pages: [256, 238],
  move_pages: [279, 239],
  personality: [135, 92],
  modify_ldt: [154, null],
  // The machine.
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  create_module: [174, null],
  get_kernel_syms: [177, null],
  query_module: [178, null],
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  reboot: [169, 142],
  syslog: [103, 116],
  acct: [163, 89],
  iopl: [172, null],
  ioperm: [173, null],
  vhangup: [153, 58],
  settimeofday: [164, 170],
  adjtimex: [159, 171],
  clock_settime: [227, 112],
  clock_adjtime: [305, 266],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  lookup_dcookie: [212, 18],
  nfsservctl: [180, 42],
  uselib: [134, null],
  ustat: [136, null],
  sysfs: [139, null],
  _sysctl: [156, null],
};

/** Answered with ENOSYS, so that libraries take the older call, whose arguments a filter can see. */
export const UNKNOWN_SYSCALLS: SyscallTable = {
  clone3: [435, 435],
  openat2: [437, 437],
};

/** Memory that no process maps: only a cgroup counts it, so it is refused where there is none. */
export const UNMAPPED_MEMORY_SYSCALLS: SyscallTable = {
  memfd_create: [319, 279],
  shmget: [29, 194],
};

/** Judged by their arguments. */
export const JUDGED_SYSCALLS = {
  clone: [56, 220],
  ioctl: [16, 29],
  socket: [41, 198],
  socketpair: [53, 199],
  chmod: [90, null],
  fchmod: [91, 52],
  fchmodat: [268, 53],
  fchmodat2: [452, 452],
  mknod: [133, null],
  mknodat: [259, 33],
  creat: [85, null],
  open: [2, null],
  openat: [257, 56],
} as const satisfies SyscallTable;

/** The numbers of a table on one architecture. */
export function numbersOf(table: SyscallTable, architecture: SandboxArchitecture): number[] {
  return Object.values(table).flatMap((pair) => pair[architecture === "x64" ? 0 : 1] ?? []);
}
