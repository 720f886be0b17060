import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { bubblewrapArguments, FD, INSIDE } from "./bubblewrap.ts";
import type { HostLayout } from "./bubblewrap.ts";
import type { CgroupDriver, CgroupLeaf } from "./cgroup.ts";
import { reasonOf, SandboxError } from "./errors.ts";
import { rlimitArguments } from "./rlimits.ts";
import { resolveSpec } from "./spec.ts";
import { TrackedProcess } from "./tracked-process.ts";
import type { SandboxedProcess, SandboxSpec } from "./types.ts";

/** What all starts of one sandbox have in common. */
export interface LaunchContext {
  bwrapPath: string;
  host: HostLayout;
  /** The filter, from `buildSeccompProgram`. */
  seccomp: Buffer;
  /** Without it, rlimits and sampling limit what they can. */
  cgroups: CgroupDriver | undefined;
  /** Whether the host runs as root. */
  isRoot: boolean;
  /** Descriptors that would reach the plugin by inheritance. */
  inherited: readonly number[];
  startTimeoutMs: number;
  sampleIntervalMs: number;
}

type PipedChild = ChildProcess & { stdin: Writable; stdout: Readable; stderr: Readable };

/** Joins the cgroups given before `--` and becomes what stands behind it, so that not even bwrap runs outside of them. */
const JOIN = `while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; exec "$@"`;
/**
 * For hosts that run as root: the devices inside are the host's own, and root's plugins are their owner, who may change
 * their mode. So bwrap gets them from a read-only /dev, in a mount namespace of its own; they can still be written to.
 */
const GUARD_DEVICES = `mount --bind /dev /dev && mount -o remount,bind,ro /dev && exec "$@"`;
/** Inside, behind the filter: tells that the sandbox stands, then becomes the limiter, which becomes the plugin. */
const READY = `case "$1" in
*/*) [ -f "$1" ] && [ -x "$1" ] ;;
*) command -v "$1" > /dev/null ;;
esac || { echo "$1: no such program inside the sandbox" >&2; exit 127; }
shift; printf r >&${FD.ready}; exec ${FD.ready}>&-; exec "$@"`;

/** Starts one process; see `Sandbox.start`. */
export async function launch(unchecked: SandboxSpec, context: LaunchContext): Promise<SandboxedProcess> {
  const spec = await resolveSpec(unchecked);
  let leaf: CgroupLeaf | undefined;
  try {
    leaf = await context.cgroups?.createLeaf(spec.name, spec.limits);
  } catch (error) {
    throw new SandboxError("SANDBOX_START_FAILED", `cannot make a cgroup for ${spec.name}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  let child;
  try {
    child = spawnChild(spec, context, leaf);
  } catch (error) {
    await leaf?.remove();
    throw new SandboxError("SANDBOX_START_FAILED", `cannot start ${spec.name}: ${reasonOf(error)}`, { cause: error });
  }
  const tracked = new TrackedProcess(child, leaf);
  for (const stream of [child.stdout, child.stderr]) keepUntilRead(stream);
  try {
    await untilReady(spec, child, tracked, context.startTimeoutMs);
  } catch (error) {
    await tracked.kill();
    throw error;
  }
  if (leaf === undefined) tracked.watch(spec.limits, context.sampleIntervalMs);
  return tracked;
}

function spawnChild(spec: SandboxSpec, context: LaunchContext, leaf: CgroupLeaf | undefined): PipedChild {
  const stdio: ("pipe" | "ignore")[] = ["pipe", "pipe", "pipe"];
  stdio[FD.seccomp] = "pipe";
  stdio[FD.channel] = spec.hostChannel ? "pipe" : "ignore";
  stdio[FD.ready] = "pipe";
  stdio[FD.info] = "pipe";
  stdio[FD.arguments] = "pipe";
  // A pipe of our own, closed at once, takes the place of each inherited descriptor.
  for (const descriptor of context.inherited) stdio[descriptor] ??= "pipe";
  const limiter = [INSIDE.limiter, ...rlimitArguments(spec.limits, leaf !== undefined), "--"];
  const inside = [INSIDE.shell, "-c", READY, "sh", spec.command[0], ...limiter, ...spec.command];
  const guard = context.isRoot
    ? ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", GUARD_DEVICES, "sh"]
    : [];
  const bwrap = [context.bwrapPath, "--args", String(FD.arguments), "--", ...inside];
  const child = spawn("/bin/sh", ["-c", JOIN, "sh", ...(leaf?.membershipFiles ?? []), "--", ...guard, ...bwrap], {
    cwd: "/",
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    // Out of the terminal's process group: Ctrl-C is the host's to hear, which then drains its plugins.
    detached: true,
    stdio: Array.from(stdio, (entry) => entry ?? "ignore"),
  });
  for (const descriptor of context.inherited) if (descriptor > FD.arguments) child.stdio[descriptor]?.destroy();
  write(child, FD.seccomp, context.seccomp);
  write(
    child,
    FD.arguments,
    bubblewrapArguments(spec, context.host)
      .map((argument) => `${argument}\0`)
      .join(""),
  );
  return child as PipedChild;
}

/** Node.js throws unread output away when a process ends, unless somebody waits to read it: so somebody does. */
function keepUntilRead(stream: Readable): void {
  const wait = (): void => {};
  const release = (event: string | symbol): void => {
    if (event !== "data") return;
    stream.off("readable", wait).off("newListener", release);
  };
  stream.on("readable", wait).on("newListener", release);
}

async function untilReady(
  spec: SandboxSpec,
  child: PipedChild,
  tracked: TrackedProcess,
  timeoutMs: number,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const message = `${spec.name} did not start within ${timeoutMs} ms`;
      reject(
        new SandboxError("SANDBOX_START_TIMEOUT", message, { remedy: "allow it more processor time, or more time" }),
      );
    }, timeoutMs);
  });
  const started = async (): Promise<void> => {
    // Both at once: what nobody waits for is thrown away when a short-lived plugin has already ended.
    const ready = readAll(child, FD.ready);
    const info = await readAll(child, FD.info);
    const pid = /"child-pid":\s*(\d+)/.exec(info)?.[1];
    if (pid !== undefined) await tracked.begin(Number(pid));
    if ((await ready) === "r") return;
    throw await failure(spec, child, tracked);
  };
  try {
    await Promise.race([started(), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

async function failure(spec: SandboxSpec, child: PipedChild, tracked: TrackedProcess): Promise<SandboxError> {
  const said = text(child.stderr).catch(() => "");
  const { code, signal, cause } = await tracked.exited;
  const end = cause === "memory" ? "it ran out of memory" : `it ended with ${signal ?? `code ${code}`}`;
  const reason = (await said).trim().slice(0, 2000);
  return new SandboxError("SANDBOX_START_FAILED", `cannot start ${spec.name}: ${reason === "" ? end : reason}`);
}

function write(child: ChildProcess, descriptor: number, data: Buffer | string): void {
  const stream = child.stdio[descriptor] as Writable | null;
  // A launcher that dies early breaks the pipe; that it died is reported by its exit.
  stream?.on("error", () => {}).end(data);
}

/** Everything until the other side closes; what was read so far if the stream breaks. */
async function readAll(child: ChildProcess, descriptor: number): Promise<string> {
  let all = "";
  try {
    for await (const chunk of child.stdio[descriptor] as Readable) all += String(chunk);
  } catch {
    // The same as closed.
  }
  return all;
}
