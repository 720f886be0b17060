// Whether plugins can be kept apart here, seen by keeping a shell apart.
import type { Finding } from "./finding.ts";
import { installer } from "./programs.ts";
import { lastLine, type Outcome, run, which } from "./run.ts";

/** The sandbox of plugins, but for the seccomp filter, which the plugin host makes. */
const flags = [
  ["--unshare-all", "--unshare-user", "--disable-userns", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"],
  [
    "--die-with-parent",
    "--new-session",
    "--clearenv",
    "--setenv",
    "PATH",
    "/usr/bin:/bin",
    "--ro-bind",
    "/usr",
    "/usr",
  ],
  ["--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"],
  ["--size", "16777216", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"],
  ["--remount-ro", "/dev", "--remount-ro", "/", "--"],
].flat();

/** Looks at what the shell can see and do: who it is, which processes and networks there are, whether `/` can be written. */
const look = [
  "id -u",
  "ls -d /proc/[0-9]* | wc -l",
  "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' \\n'",
  "echo",
  "(: > /probe) 2>/dev/null && echo written || echo refused",
  "(unshare -U true) 2>/dev/null && echo nested || echo alone",
].join("; ");

/** Starts a sandbox with the bwrap in `folders`, and looks around in it. */
export async function checkSandbox(folders: readonly string[]): Promise<Finding[]> {
  const bwrap = await which("bwrap", folders);
  if (!bwrap) return [];
  const isolation = { group: "sandbox", name: "isolation: process" } as const;
  const outcome = await run(bwrap, [...flags, "sh", "-c", look]);
  if (outcome.code !== 0)
    return [{ ...isolation, state: "missing", detail: lastLine(outcome), mend: await mendFor(bwrap, outcome) }];
  const holes = holesIn(outcome.stdout);
  const inside: Finding = holes.length
    ? { ...isolation, state: "missing", detail: `it does not hold: ${holes.join(", ")}`, mend: "update bubblewrap" }
    : { ...isolation, state: "ok", detail: "own user, processes, read-only root, no network, no nested namespaces" };
  return [inside, await checkPython(bwrap, folders), await checkSeccomp(bwrap)];
}

/** What of the promised walls is not there. */
export function holesIn(text: string): string[] {
  const [user, processes, networks, root, nesting] = text
    .trim()
    .split("\n")
    .map((line) => line.trim());
  return [
    user === "65534" ? "" : `it runs as user ${user}`,
    // bwrap, the shell and what looks: a host has far more.
    Number(processes) <= 8 ? "" : `it sees ${processes} processes`,
    networks === "lo" ? "" : `it sees the networks ${networks}`,
    root === "refused" ? "" : "it can write to /",
    nesting === "alone" ? "" : "it can make user namespaces",
  ].filter(Boolean);
}

/** bwrap fails for one of two reasons: the kernel gives no user namespaces, or something forbids a step inside. */
async function mendFor(bwrap: string, outcome: Outcome): Promise<string> {
  const namespaces = await run(bwrap, ["--unshare-user", "--ro-bind", "/", "/", "true"]);
  if (namespaces.code === 0)
    return /disable-userns|unknown option/i.test(outcome.stderr)
      ? "update bubblewrap to 0.8 or newer"
      : "in a container, allow /proc to be mounted: docker run --security-opt systempaths=unconfined …";
  if (/apparmor|Permission denied/i.test(namespaces.stderr))
    return "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0";
  return "sudo sysctl user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1";
}

async function checkPython(bwrap: string, folders: readonly string[]): Promise<Finding> {
  const finding = { group: "sandbox", name: "python" } as const;
  // Asked inside: a Python below /home or /root is on PATH and yet not in the sandbox.
  const outcome = await run(bwrap, [...flags, "python3", "--version"]);
  if (outcome.code === 0) return { ...finding, state: "ok", detail: lastLine(outcome) };
  const install = await installer(folders);
  const detail = "there is no python3 in /usr/bin: Python plugins do not start";
  return { ...finding, state: "warning", detail, mend: install(["python3", "python3"]) };
}

async function checkSeccomp(bwrap: string): Promise<Finding> {
  const finding = { group: "sandbox", name: "seccomp" } as const;
  const outcome = await run(bwrap, [...flags, "cat", "/proc/sys/kernel/seccomp/actions_avail"]);
  if (outcome.code === 0 && outcome.stdout.includes("errno"))
    return { ...finding, state: "ok", detail: "the kernel filters system calls" };
  return {
    ...finding,
    state: "missing",
    detail: "the kernel cannot filter system calls",
    mend: "boot a kernel with CONFIG_SECCOMP_FILTER=y",
  };
}
