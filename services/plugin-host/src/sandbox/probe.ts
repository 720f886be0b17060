import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { createBubblewrapSandbox } from "./bubblewrap-sandbox.ts";
import type { BubblewrapOptions } from "./bubblewrap-sandbox.ts";
import { reasonOf } from "./errors.ts";
import type { EnforcementReport, LimitName, Sandbox, SandboxExit, SandboxLimits } from "./types.ts";

const MEBIBYTE = 1024 * 1024;
const LIMITS: SandboxLimits = {
  memoryBytes: 24 * MEBIBYTE,
  cpus: 0.2,
  maxProcesses: 8,
  maxOpenFiles: 64,
  tmpBytes: MEBIBYTE,
};
const ROOT = fileURLToPath(new URL("./etc", import.meta.url));
const SPIN_MS = 600;
/** By then whatever was to be stopped should have been. */
const PATIENCE_MS = 5000;

/** Prints the name of each wall that stands. */
const WALLS = `
[ "$(ulimit -n)" = ${LIMITS.maxOpenFiles} ] && echo openFiles
! head -c ${2 * LIMITS.tmpBytes} /dev/zero 2> /dev/null > /tmp/full && ! true 2> /dev/null > /written && echo tmp
[ "$(grep -c : /proc/net/dev)" = 1 ] && echo network
grep -q '^Seccomp:.*2' /proc/self/status && ! unshare --mount true 2> /dev/null && echo seccomp
`;
const TAKE_MEMORY = "cat /dev/zero | tail -c 64M";
const FORK = "i=0; while [ $i -lt 20 ]; do sleep 30 & i=$((i + 1)); done; sleep 3";
const SPIN = "while :; do :; done";

/**
 * Finds out by doing what this machine enforces: starts sandboxes and goes over each limit in them. Takes about a second.
 * Never rejects: what cannot be had is in `missing`.
 */
export async function probeSandbox(options: BubblewrapOptions = {}): Promise<EnforcementReport> {
  let sandbox;
  try {
    sandbox = await createBubblewrapSandbox(options);
  } catch (error) {
    return { level: "process", available: false, missing: [reasonOf(error)], limits: nothing(reasonOf(error)) };
  }
  const limits = { ...sandbox.limits };
  const missing: string[] = [];
  const held = await overstep(sandbox);
  for (const name of Object.keys(limits) as LimitName[]) {
    if (limits[name].enforcedBy === "nothing") {
      missing.push(`nothing limits ${name}: ${limits[name].detail}`);
    } else if (!held.has(name)) {
      limits[name] = { enforcedBy: "nothing", detail: `tried, and it did not hold: ${limits[name].detail}` };
      missing.push(`the limit of ${name} did not hold when it was tried`);
    }
  }
  return { level: "process", available: true, missing, limits };
}

async function overstep(sandbox: Sandbox): Promise<Set<string>> {
  const held = new Set<string>();
  const [walls, memory, processes, slow] = await Promise.all([
    run(sandbox, WALLS),
    run(sandbox, TAKE_MEMORY),
    run(sandbox, FORK),
    spin(sandbox),
  ]);
  for (const name of walls?.output.split("\n") ?? []) held.add(name);
  if (memory?.exit.cause === "memory") held.add("memory");
  // The shell cannot fork and says so, or the host sees too many.
  if (processes !== undefined && processes.exit.code !== 0 && !processes.late) held.add("processes");
  if (slow) held.add("cpu");
  return held;
}

async function run(
  sandbox: Sandbox,
  script: string,
): Promise<{ exit: SandboxExit; output: string; late: boolean } | undefined> {
  try {
    const started = await sandbox.start(specOf(script));
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      void started.kill();
    }, PATIENCE_MS);
    const output = text(started.stdout).catch(() => "");
    const exit = await started.exited;
    clearTimeout(timer);
    return { exit, output: await output, late };
  } catch {
    // A wall that could not be tried does not count as standing.
    return undefined;
  }
}

async function spin(sandbox: Sandbox): Promise<boolean> {
  try {
    const started = await sandbox.start(specOf(SPIN));
    const before = performance.now();
    const { cpuSeconds: atStart } = await started.usage();
    await new Promise((resolve) => setTimeout(resolve, SPIN_MS));
    const { cpuSeconds } = await started.usage();
    const share = (cpuSeconds - atStart) / ((performance.now() - before) / 1000);
    await started.kill();
    // Twice the share allowed, since a period begun is a period paid; unlimited it would be five times.
    return share < LIMITS.cpus * 2;
  } catch {
    return false;
  }
}

function specOf(script: string): Parameters<Sandbox["start"]>[0] {
  return {
    name: "probe",
    command: ["/bin/sh", "-c", script],
    root: ROOT,
    binds: [],
    env: {},
    limits: LIMITS,
    hostChannel: false,
  };
}

function nothing(detail: string): EnforcementReport["limits"] {
  const none = { enforcedBy: "nothing", detail } as const;
  return { memory: none, cpu: none, processes: none, openFiles: none, tmp: none, network: none, seccomp: none };
}
