import { lstat, readlink } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { SandboxSpec } from "./types.ts";

/** Descriptors of the started process. Only {@link FD.channel} reaches the plugin. */
export const FD = { seccomp: 3, channel: 4, ready: 5, info: 6, arguments: 7 } as const;

/** Paths inside the sandbox that are ours. */
export const INSIDE = { root: "/plugin", home: "/tmp", shell: "/bin/sh", limiter: "/usr/bin/prlimit" } as const;

/** What of the host's file system a sandbox is built from. */
export interface HostLayout {
  /** Top-level system folders beside /usr: links into it on merged systems, folders on others. */
  system: readonly ({ path: string; link: string } | { path: string })[];
  /** Files and folders of /etc that run times read; none says anything about users or the network. */
  etc: readonly string[];
  /** Files of /proc to hide. */
  hiddenProc: readonly string[];
}

const SYSTEM_FOLDERS = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
const ETC_FROM_HOST = ["/etc/ld.so.cache", "/etc/alternatives"];
const ETC_OF_OURS = ["passwd", "group", "hosts", "nsswitch.conf"];
/** Addresses of the kernel, keys, the boot command line: a sandbox of root would read them with root's eyes. */
const HIDDEN_PROC = [
  "cmdline",
  "iomem",
  "ioports",
  "kallsyms",
  "kcore",
  "key-users",
  "keys",
  "kmsg",
  "kpagecgroup",
  "kpagecount",
  "kpageflags",
  "latency_stats",
  "sched_debug",
  "slabinfo",
  "timer_list",
  "vmallocinfo",
];
/**
 * Mounted read-only at the end. For the kernel, the user inside is the one who started us: were that root, /proc/sys
 * would be writable, capabilities or not. Devices cannot be in this list, for bwrap forbids their use with it; see
 * `launch.ts` for what protects them.
 */
const READ_ONLY = ["/proc", "/dev", "/"];
const OPTIONS = [
  ...["unshare-all", "unshare-user", "disable-userns", "die-with-parent", "new-session"].map((name) => `--${name}`),
  ...Object.entries({ uid: "65534", gid: "65534", hostname: "plugin", "cap-drop": "ALL" }).flatMap(([name, value]) => [
    `--${name}`,
    value,
  ]),
];

/** Looks at the host once, so that arguments name only what exists. */
export async function readHostLayout(): Promise<HostLayout> {
  const system = await Promise.all(
    SYSTEM_FOLDERS.map(async (path) => {
      const stats = await lstat(path).catch(() => undefined);
      if (stats?.isSymbolicLink()) return { path, link: await readlink(path) };
      return stats?.isDirectory() ? { path } : undefined;
    }),
  );
  const existing = async (paths: string[]): Promise<string[]> => {
    const found = await Promise.all(paths.map(async (path) => ((await lstat(path).catch(() => null)) ? path : "")));
    return found.filter((path) => path !== "");
  };
  return {
    system: system.filter((entry) => entry !== undefined),
    etc: await existing(ETC_FROM_HOST),
    hiddenProc: await existing(HIDDEN_PROC.map((name) => `/proc/${name}`)),
  };
}

/**
 * The options of bwrap (0.8 or later) for a checked spec, without the command. They go to it over `--args`, so that
 * paths and environment are not to be read in the machine's list of processes.
 */
export function bubblewrapArguments(spec: SandboxSpec, host: HostLayout): string[] {
  return [
    ...OPTIONS,
    ...environmentArguments(spec.env),
    ...bindReadOnly("/usr"),
    ...host.system.flatMap((entry) =>
      "link" in entry ? ["--symlink", entry.link, entry.path] : bindReadOnly(entry.path),
    ),
    ...host.etc.flatMap((path) => bindReadOnly(path)),
    ...ETC_OF_OURS.flatMap((name) => bindReadOnly(etcFile(name), `/etc/${name}`)),
    ...bindReadOnly(spec.root, INSIDE.root),
    ...tmpfs("/tmp", spec.limits.tmpBytes),
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    ...tmpfs("/dev/shm", spec.limits.tmpBytes),
    // Outer targets first, or a bind would cover one that was made before it.
    ...spec.binds
      .toSorted((a, b) => depth(a.target) - depth(b.target))
      .flatMap(({ source, target, writable }) => [writable ? "--bind" : "--ro-bind", source, target]),
    ...host.hiddenProc.flatMap((path) => bindReadOnly("/dev/null", path)),
    ...READ_ONLY.flatMap((path) => ["--remount-ro", path]),
    "--chdir",
    INSIDE.root,
    "--seccomp",
    String(FD.seccomp),
    "--info-fd",
    String(FD.info),
  ];
}

function bindReadOnly(source: string, target = source): string[] {
  return ["--ro-bind", source, target];
}

function environmentArguments(env: Readonly<Record<string, string>>): string[] {
  const all = { PATH: "/usr/bin:/bin", LANG: "C.UTF-8", ...env, HOME: INSIDE.home };
  return ["--clearenv", ...Object.entries(all).flatMap(([name, value]) => ["--setenv", name, value])];
}

function tmpfs(path: string, bytes: number): string[] {
  return ["--perms", "1777", "--size", String(bytes), "--tmpfs", path];
}

function etcFile(name: string): string {
  return fileURLToPath(new URL(`./etc/${name}`, import.meta.url));
}

function depth(path: string): number {
  return path.split("/").length;
}
