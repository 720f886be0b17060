import { access, constants, readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { readHostLayout } from "./bubblewrap.ts";
import type { CgroupDriver } from "./cgroup.ts";
import { openCgroups } from "./cgroup-mounts.ts";
import { inheritableDescriptors } from "./descriptors.ts";
import { describeEnforcement } from "./enforcement.ts";
import { reasonOf, SandboxError } from "./errors.ts";
import { launch } from "./launch.ts";
import type { LaunchContext } from "./launch.ts";
import { buildSeccompProgram } from "./seccomp.ts";
import type { EnforcementReport, Sandbox } from "./types.ts";

/** How to isolate. */
export interface BubblewrapOptions {
  /** Where bwrap is; looked for in /usr/bin, /usr/local/bin and /bin otherwise. */
  bwrapPath?: string;
  /**
   * Parent of the cgroups: a path from the root of the hierarchy, which must then be usable; `auto` (the default) for the
   * cgroup this process is in, with rlimits and sampling where that cannot be used; `none` for these in any case.
   */
  cgroupParent?: string;
  /** How long a start may take, in milliseconds; 10 s unless told. */
  startTimeoutMs?: number;
  /** How often sandboxes without a cgroup are looked at, in milliseconds; 100 unless told. */
  sampleIntervalMs?: number;
}

/** A sandbox that says what it enforces. */
export interface BubblewrapSandbox extends Sandbox {
  readonly limits: EnforcementReport["limits"];
}

const BWRAP_PATHS = ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"];
const LIMITER = "/usr/bin/prlimit";
/** Any folder will do for the trial; this one is here and holds nothing private. */
const TRIAL_ROOT = fileURLToPath(new URL("./etc", import.meta.url));
/** Walls that older versions, other kernels or a root user could be without, and a wall that must not be in the way. */
const TRIAL = `
! chmod 666 /dev/null 2> /dev/null || echo the modes of the devices can be changed inside
! [ -w /proc/sys/kernel/core_pattern ] || echo kernel settings can be changed inside
! true 2> /dev/null > /written || echo the root folder is writable inside
true > /dev/null || echo devices cannot be used inside
exit 0
`;

/**
 * Makes a sandbox of bubblewrap, seccomp and cgroups, after starting a trial process in it, and removes cgroups that
 * hosts which were killed have left behind.
 *
 * @throws SandboxError `SANDBOX_UNAVAILABLE` saying what is missing, with the command that mends it as `remedy`
 * @example
 * const sandbox = await createBubblewrapSandbox({ cgroupParent: "auto" });
 * const plugin = await sandbox.start(spec);
 */
export async function createBubblewrapSandbox(options: BubblewrapOptions = {}): Promise<BubblewrapSandbox> {
  if (process.platform !== "linux")
    throw unavailable(`the process sandbox needs Linux, and this is ${process.platform}`);
  const architecture = process.arch;
  if (architecture !== "x64" && architecture !== "arm64") {
    throw unavailable(`there is no system call filter for ${architecture}, only for x64 and arm64`);
  }
  const bwrapPath = await findBubblewrap(options.bwrapPath);
  if (!(await isExecutable(LIMITER))) throw unavailable(`${LIMITER} is missing`, "apt-get install -y util-linux");
  const isRoot = process.getuid?.() === 0;
  const cgroups = await findCgroups(options.cgroupParent ?? "auto");
  const driver = typeof cgroups === "string" ? undefined : cgroups;
  const context: LaunchContext = {
    bwrapPath,
    host: await readHostLayout(),
    seccomp: buildSeccompProgram(architecture, { countsUnmappedMemory: driver !== undefined }),
    cgroups: driver,
    isRoot,
    inherited: inheritableDescriptors(),
    startTimeoutMs: options.startTimeoutMs ?? 10_000,
    sampleIntervalMs: options.sampleIntervalMs ?? 100,
  };
  await driver?.removeStale();
  await tryOut(context);
  return {
    level: "process",
    limits: describeEnforcement(cgroups, isRoot),
    start: (spec) => launch(spec, context),
  };
}

async function findBubblewrap(given: string | undefined): Promise<string> {
  for (const path of given === undefined ? BWRAP_PATHS : [given]) if (await isExecutable(path)) return path;
  throw unavailable(`bubblewrap is missing (${given ?? BWRAP_PATHS.join(", ")})`, "apt-get install -y bubblewrap");
}

/** The driver, or why there is none. */
async function findCgroups(parent: string): Promise<CgroupDriver | string> {
  if (parent === "none") return "switched off by configuration";
  try {
    return await openCgroups(parent);
  } catch (error) {
    if (parent === "auto") return reasonOf(error);
    const remedy = "delegate a cgroup with cpu, memory and pids to this service, or set the parent to auto";
    throw unavailable(`the cgroup ${parent} cannot be used: ${reasonOf(error)}`, remedy, error);
  }
}

async function tryOut(context: LaunchContext): Promise<void> {
  try {
    const trial = await launch(
      {
        name: "trial",
        command: ["/bin/sh", "-c", TRIAL],
        root: TRIAL_ROOT,
        binds: [],
        env: {},
        limits: { memoryBytes: 64 * 1024 * 1024, cpus: 1, maxProcesses: 16, maxOpenFiles: 64, tmpBytes: 65536 },
        hostChannel: false,
      },
      context,
    );
    const said = (await text(trial.stdout)).trim();
    const { code } = await trial.exited;
    if (code !== 0 || said !== "") throw new Error(said === "" ? `the trial ended with code ${code}` : said);
  } catch (error) {
    throw unavailable(`bubblewrap cannot make a sandbox here: ${reasonOf(error)}`, await namespaceRemedy(), error);
  }
}

/** The settings that keep users from making namespaces, each with the command that lifts it. */
async function namespaceRemedy(): Promise<string> {
  const settings: readonly [name: string, forbids: string, allows: string][] = [
    ["kernel.unprivileged_userns_clone", "0", "1"],
    ["kernel.apparmor_restrict_unprivileged_userns", "1", "0"],
    ["user.max_user_namespaces", "0", "15000"],
  ];
  for (const [name, forbids, allows] of settings) {
    const value = await readFile(`/proc/sys/${name.replaceAll(".", "/")}`, "utf8").catch(() => "");
    if (value.trim() === forbids) return `sysctl -w ${name}=${allows}`;
  }
  return "install bubblewrap 0.8 or later; in a container, allow user namespaces (--security-opt seccomp=unconfined)";
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

function unavailable(message: string, remedy?: string, cause?: unknown): SandboxError {
  const full = remedy === undefined ? message : `${message}. To mend it: ${remedy}`;
  return new SandboxError("SANDBOX_UNAVAILABLE", full, { ...(remedy === undefined ? {} : { remedy }), cause });
}
