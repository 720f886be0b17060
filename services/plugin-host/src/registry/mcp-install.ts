// From `npx -y <package>` to a package of ours: npm resolves and fetches once, runs nothing, and what came is packed.
import { spawn } from "node:child_process";
import { lstat, mkdtemp, open, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, extname, join, posix, sep } from "node:path";
import { type Package, type PackageFile, packFolder } from "@warren/plugin-manifest";
import { NODE_INSIDE } from "../lifecycle/launch.ts";
import { printable } from "../protocol/lines.ts";
import type { NpxCommand } from "./command-line.ts";

/** The package could not be got or is no MCP server that can be started. The message is for the person who installs. */
export class McpInstallFailed extends Error {
  override readonly name = "McpInstallFailed";
}

/** How npm is run. */
export interface NpmOptions {
  /** npm's program: an absolute path. */
  readonly npmPath: string;
  /** Node.js: an absolute path. */
  readonly nodePath: string;
  /** The whole environment of npm beside PATH and HOME: proxies, certificates, the registry. Nothing of the service's own. */
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

/**
 * Fetches an npm package with its dependencies and makes a plugin of it. No install script runs.
 * @param id the plugin's id; absent: made from the package's name.
 * @throws McpInstallFailed, PackageError when it is too big.
 */
export async function installMcp(
  command: NpxCommand,
  id: string | undefined,
  npm: NpmOptions,
  signal: AbortSignal,
): Promise<Package> {
  const folder = await mkdtemp(join(tmpdir(), "warren-npm-"));
  try {
    await writeFile(join(folder, "package.json"), '{"private":true}');
    await runNpm(command.spec, folder, npm, signal);
    const { version, description, bin } = await readPackage(folder, command.packageName);
    const manifest = {
      id: id ?? idOf(command.packageName),
      version,
      name: command.packageName.slice(0, 64),
      description: description || `The MCP server ${command.packageName}`,
      runtime: "mcp",
      command: [NODE_INSIDE, `/plugin/node_modules/${command.packageName}/${bin}`, ...command.args],
    };
    const files = await readTree(folder, "node_modules");
    return await packFolder([
      { path: "plugin.json", bytes: Buffer.from(JSON.stringify(manifest, undefined, 2)) },
      ...files,
    ]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** `@modelcontextprotocol/server-everything` becomes `server-everything`. */
function idOf(packageName: string): string {
  const plain = packageName.slice(packageName.indexOf("/") + 1).toLowerCase();
  const id = plain
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replace(/^-+/, "")
    .slice(0, 48)
    .replace(/-+$/, "");
  if (!id) throw new McpInstallFailed(`No plugin id can be made of ${packageName}: give one`);
  return id;
}

const MAX_OUTPUT = 64 * 1024;

async function runNpm(spec: string, folder: string, npm: NpmOptions, signal: AbortSignal): Promise<void> {
  const flags = [
    "--ignore-scripts",
    "--omit=dev",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--loglevel=error",
    "--no-save",
    "--git=/nonexistent",
  ];
  const args = ["install", ...flags, "--prefix", folder, "--cache", join(folder, ".npm"), "--", spec];
  const script = await realpath(npm.npmPath);
  const [program, ...first] = extname(script) === ".js" ? [npm.nodePath, script] : [script];
  const child = spawn(program, [...first, ...args], {
    cwd: folder,
    env: { ...npm.env, PATH: [dirname(npm.nodePath), "/usr/bin", "/bin"].join(":"), HOME: folder },
    stdio: ["ignore", "ignore", "pipe"],
    detached: true,
  });
  let output = "";
  child.stderr.on("data", (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-MAX_OUTPUT);
  });
  const ending = AbortSignal.any([signal, AbortSignal.timeout(npm.timeoutMs)]);
  // npm starts processes of its own: end the whole group.
  const end = (): void => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
      process.kill(-child.pid, "SIGKILL");
  };
  ending.addEventListener("abort", end, { once: true });
  if (ending.aborted) end();
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", (cause) =>
      reject(new McpInstallFailed(`npm could not be started: ${cause.message}`, { cause })),
    );
    child.once("close", resolve);
  }).finally(() => ending.removeEventListener("abort", end));
  if (ending.aborted) throw new McpInstallFailed(`npm did not fetch ${spec} within the time for it`);
  if (code !== 0) throw new McpInstallFailed(`npm could not fetch ${spec}: ${npmProblem(output)}`);
}

/** The line of npm's errors that says what happened. */
function npmProblem(output: string): string {
  const lines = output
    .split("\n")
    .map((line) => line.replace(/^npm (?:error|ERR!) ?/, "").trim())
    .filter(Boolean);
  const told = lines.filter((line) => !/^(?:code|A complete log|Log files)/.test(line));
  return printable(told[0] ?? lines[0] ?? "it gave no reason", 300);
}

async function readPackage(
  folder: string,
  packageName: string,
): Promise<{ version: string; description: string; bin: string }> {
  const root = join(folder, "node_modules", packageName);
  const text = await readFile(join(root, "package.json"), "utf8").catch((cause: unknown) => {
    throw new McpInstallFailed(`npm fetched no package ${packageName}`, { cause });
  });
  const { version, description, bin } = JSON.parse(text) as Record<string, unknown>;
  const path = binOf(packageName, bin);
  await checkProgram(root, path, packageName);
  const line = typeof description === "string" ? printable(description.trim(), 512) : "";
  return { version: typeof version === "string" ? version : "0.0.0", description: line, bin: path };
}

/** Which program npx would run: the only one, or the one named like the package (https://docs.npmjs.com/cli/commands/npx). */
function binOf(packageName: string, bin: unknown): string {
  const unscoped = packageName.slice(packageName.indexOf("/") + 1);
  const programs =
    typeof bin === "string"
      ? { [unscoped]: bin }
      : typeof bin === "object" && bin !== null
        ? (bin as Record<string, unknown>)
        : {};
  const names = Object.keys(programs);
  const [only] = names;
  const chosen =
    new Set(Object.values(programs)).size === 1 && only !== undefined ? programs[only] : programs[unscoped];
  if (!names.length) throw new McpInstallFailed(`${packageName} has no program: it is a library, not an MCP server`);
  if (typeof chosen !== "string")
    throw new McpInstallFailed(
      `${packageName} has several programs (${names.slice(0, 8).join(", ")}) and none of its own name`,
    );
  const path = posix.normalize(chosen);
  if (path.startsWith("..") || path.startsWith("/") || path.includes("\\"))
    throw new McpInstallFailed(`${packageName} names a program outside of itself`);
  return path;
}

async function checkProgram(root: string, path: string, packageName: string): Promise<void> {
  const file = join(root, path);
  const found = await realpath(file).catch(() => undefined);
  if (!found?.startsWith((await realpath(root)) + sep))
    throw new McpInstallFailed(`${packageName} lacks its program ${path}`);
  const handle = await open(found, "r");
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(128), 0, 128, 0);
    const [head = ""] = buffer.toString("utf8", 0, bytesRead).split("\n");
    const isNode = head.startsWith("#!") ? /\bnode\b/.test(head) : [".js", ".mjs", ".cjs"].includes(extname(path));
    if (!isNode) throw new McpInstallFailed(`${packageName}'s program ${basename(path)} is not a Node.js program`);
  } finally {
    await handle.close();
  }
}

/** All plain files below a folder. Links (npm makes them only in `.bin`) and npm's own notes are left out. */
async function readTree(root: string, folder: string): Promise<PackageFile[]> {
  const files: PackageFile[] = [];
  for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory() && entry.name !== ".bin" && entry.name !== ".cache")
      files.push(...(await readTree(root, path)));
    if (!entry.isFile() || path === "node_modules/.package-lock.json") continue;
    const { mode } = await lstat(join(root, path));
    files.push({ path, bytes: await readFile(join(root, path)), executable: (mode & 0o111) !== 0 });
  }
  return files;
}
