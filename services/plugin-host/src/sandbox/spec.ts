import { lstat, realpath } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { reasonOf, SandboxError } from "./errors.ts";
import type { SandboxBind, SandboxLimits, SandboxSpec } from "./types.ts";

const CONTROL_CHARACTERS = /\p{Cc}/u;
const ENVIRONMENT_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** A program may not look like an option to the launcher. */
const PROGRAM = /^[A-Za-z0-9_./]/;
/** Where the sandbox mounts its own things. */
const RESERVED_TARGETS = /^\/(proc|sys|dev|usr|bin|sbin|lib(32|64|x32)?|etc|plugin)(\/|$)/;
const REFUSED_SOURCES = /^\/(proc|sys|dev)(\/|$)/;

const MINIMUM_MEMORY_BYTES = 8 * 1024 * 1024;
const MINIMUM_OPEN_FILES = 16;
/** One page: a tmpfs of size 0 has no limit at all. */
const MINIMUM_TMP_BYTES = 4096;
const MAXIMUM_CPUS = 4096;

/**
 * Checks a spec and follows the symbolic links of its sources.
 *
 * @throws SandboxError `SANDBOX_INVALID_SPEC` naming the field and what is wrong with it
 */
export async function resolveSpec(spec: SandboxSpec): Promise<SandboxSpec> {
  if (spec.name === "" || spec.name.length > 256 || CONTROL_CHARACTERS.test(spec.name)) {
    throw invalid("name must have 1 to 256 characters and no control characters");
  }
  checkCommand(spec.command);
  checkEnvironment(spec.env);
  checkLimits(spec.limits);
  const root = await resolveSource("root", spec.root);
  if (!root.isDirectory) throw invalid(`root ${spec.root} is not a folder`);
  const binds: SandboxBind[] = [];
  const targets = new Set<string>();
  for (const bind of spec.binds) {
    checkTarget(bind.target);
    if (targets.has(bind.target)) throw invalid(`two binds have the target ${bind.target}`);
    targets.add(bind.target);
    const source = await resolveSource(`the source of ${bind.target}`, bind.source);
    binds.push({ source: source.path, target: bind.target, writable: bind.writable });
  }
  return { ...spec, root: root.path, binds };
}

function checkCommand(command: SandboxSpec["command"]): void {
  if (!PROGRAM.test(command[0]))
    throw invalid(`the program ${JSON.stringify(command[0])} is neither a path nor a name`);
  if (command.some((argument) => argument.includes("\0"))) throw invalid("the command contains a NUL character");
}

function checkEnvironment(env: SandboxSpec["env"]): void {
  for (const [name, value] of Object.entries(env)) {
    if (!ENVIRONMENT_NAME.test(name))
      throw invalid(`${JSON.stringify(name)} is not the name of an environment variable`);
    // The value stays out of the message: it may be private.
    if (value.includes("\0")) throw invalid(`the environment variable ${name} contains a NUL character`);
  }
}

function checkLimits(limits: SandboxLimits): void {
  const least: Record<keyof SandboxLimits, number> = {
    memoryBytes: MINIMUM_MEMORY_BYTES,
    cpus: 0.01,
    maxProcesses: 1,
    maxOpenFiles: MINIMUM_OPEN_FILES,
    tmpBytes: MINIMUM_TMP_BYTES,
  };
  for (const name of Object.keys(least) as (keyof SandboxLimits)[]) {
    const value = limits[name];
    const allowed = name === "cpus" ? value <= MAXIMUM_CPUS : Number.isSafeInteger(value);
    if (!allowed || !(value >= least[name])) {
      throw invalid(
        `limits.${name} is ${value}; it must be ${name === "cpus" ? "a number" : "whole"} from ${least[name]}`,
      );
    }
  }
}

function checkTarget(target: string): void {
  const segments = target.split("/").slice(1);
  const normal = segments.every((segment) => segment !== "" && segment !== "." && segment !== "..");
  if (!target.startsWith("/") || !normal || CONTROL_CHARACTERS.test(target)) {
    throw invalid(`the target ${JSON.stringify(target)} is not an absolute, normalized path`);
  }
  if (target === "/tmp" || RESERVED_TARGETS.test(target)) throw invalid(`the target ${target} belongs to the sandbox`);
}

async function resolveSource(what: string, source: string): Promise<{ path: string; isDirectory: boolean }> {
  if (!isAbsolute(source) || CONTROL_CHARACTERS.test(source))
    throw invalid(`${what} is not an absolute path: ${source}`);
  let path;
  let stats;
  try {
    path = await realpath(source);
    stats = await lstat(path);
  } catch (error) {
    throw invalid(`${what} cannot be used: ${reasonOf(error)}`, error);
  }
  const where = path === source ? path : `${source}, which is ${path},`;
  if (path === "/" || REFUSED_SOURCES.test(path)) throw invalid(`${what}: ${where} is never given to a plugin`);
  // Sockets, devices and pipes lead out of the sandbox.
  if (!stats.isDirectory() && !stats.isFile())
    throw invalid(`${what}: ${where} is neither a folder nor a regular file`);
  return { path, isDirectory: stats.isDirectory() };
}

function invalid(message: string, cause?: unknown): SandboxError {
  return new SandboxError("SANDBOX_INVALID_SPEC", `invalid sandbox spec: ${message}`, { cause });
}
