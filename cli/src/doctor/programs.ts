// The programs Warren needs, each asked for its version.
import { fileURLToPath } from "node:url";
import type { Finding } from "./finding.ts";
import { atLeast, run, versionIn, which } from "./run.ts";

interface Program {
  readonly name: string;
  readonly least: string;
  readonly asks: readonly string[];
  /** What works less without it; undefined: Warren does not start. */
  readonly without?: string;
  /** Package names: most package managers, Homebrew. */
  readonly packages: readonly [string, string];
}

const programs: readonly Program[] = [
  {
    name: "nats-server",
    least: "2.9",
    asks: ["--version"],

    packages: ["nats-server", "nats-server"],
  },
  {
    name: "redis-server",
    least: "7.0",
    asks: ["--version"],
    without: "rate limits are counted in memory, by each gateway alone",
    packages: ["redis-server", "redis"],
  },
  { name: "bwrap", least: "0.8", asks: ["--version"], packages: ["bubblewrap", "bubblewrap"] },
  {
    name: "prlimit",
    least: "2.0",
    asks: ["--version"],
    without: "plugins have no memory limit where cgroups are not writable",
    packages: ["util-linux", "util-linux"],
  },
];

/** Where `npm run setup` puts programs. */
const ownFolder = fileURLToPath(new URL("../../../.tools/bin", import.meta.url));

/** Where programs are looked for: the project's own, PATH, and where systems put servers that PATH may lack. */
export function programFolders(path: readonly string[]): string[] {
  return [ownFolder, ...path, "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
}

/** Looks for the programs in `folders`, and at this Node.js. */
export async function checkPrograms(folders: readonly string[], nodeVersion: string): Promise<Finding[]> {
  const install = await installer(folders);
  const found = await Promise.all(programs.map((program) => checkProgram(program, folders, install)));
  return [checkNode(nodeVersion), ...found];
}

function checkNode(version: string): Finding {
  const ok = atLeast(version, "24.12");
  const finding = { group: "programs", name: "node", detail: version } as const;
  if (ok) return { ...finding, state: "ok" };
  return { ...finding, state: "missing", detail: `${version} is older than 24.12`, mend: "npm install" };
}

async function checkProgram(
  program: Program,
  folders: readonly string[],
  install: (packages: readonly [string, string]) => string,
): Promise<Finding> {
  const { name, least, without, packages } = program;
  const finding = { group: "programs", name } as const;
  const lacking = (what: string): Finding => ({
    ...finding,
    state: without === undefined ? "missing" : "warning",
    detail: without === undefined ? what : `${what}: ${without}`,
    mend: install(packages),
  });
  const file = await which(name, folders);
  if (!file) return lacking("not installed");
  const outcome = await run(file, program.asks);
  const version = versionIn(outcome.stdout + outcome.stderr);
  if (outcome.code !== 0 || !version) return lacking(`${file} does not run`);
  if (!atLeast(version, least)) return lacking(`${version} is older than ${least}`);
  return { ...finding, state: "ok", detail: `${version} (${file})` };
}

/** How this system installs a package. */
export async function installer(folders: readonly string[]): Promise<(packages: readonly [string, string]) => string> {
  const managers = [
    ["apt-get", "apt-get install -y"],
    ["dnf", "dnf install -y"],
    ["apk", "apk add"],
    ["pacman", "pacman -S --noconfirm"],
    ["zypper", "zypper install -y"],
  ] as const;
  for (const [name, command] of managers) {
    if (!(await which(name, folders))) continue;
    return ([most]) => `${process.getuid?.() === 0 ? "" : "sudo "}${command} ${most}`;
  }
  if (await which("brew", folders)) return ([, brew]) => `brew install ${brew}`;
  return ([most]) => `npm run setup (or install ${most} by hand)`;
}
