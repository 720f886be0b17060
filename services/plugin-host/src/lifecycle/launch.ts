// From a manifest and its grants to what the sandbox is told to start.
import type { Manifest } from "@warren/plugin-manifest";
import type { ResourceLimits } from "@warren/proto/warren/plugins/v1/plugins";
import type { Mount } from "../permissions/mounts.ts";
import type { SandboxSpec } from "../sandbox/types.ts";

/** Where the sandbox finds Node.js: the host's own binary, so that all plugins share its pages. */
export const NODE_INSIDE = "/runtime/node";

const PYTHON = "/usr/bin/python3";
const MiB = 1024 * 1024;

/** This version cannot run the plugin. */
export class NotRunnable extends Error {
  override readonly name = "NotRunnable";
}

/** What a plugin is started from. */
export interface LaunchInput {
  readonly pluginId: string;
  readonly manifest: Manifest;
  readonly limits: ResourceLimits;
  /** The unpacked package on the host. */
  readonly root: string;
  readonly mounts: readonly Mount[];
  /** Node.js on the host: an absolute path without symbolic links. */
  readonly nodePath: string;
}

/**
 * What to start. Configuration and secrets are not in it: they travel on the channel, never in arguments or environment.
 * @throws NotRunnable for a runtime or an isolation level that this version does not offer; never something weaker.
 */
export function sandboxSpec({ pluginId, manifest, limits, root, mounts, nodePath }: LaunchInput): SandboxSpec {
  if (manifest.isolation === "container" || manifest.isolation === "vm")
    throw new NotRunnable(
      `${pluginId} asks for isolation "${manifest.isolation}", which this version does not offer; it offers "process"`,
    );
  const command = commandOf(manifest, Number(limits.memoryBytes));
  const usesNode = command[0] === NODE_INSIDE;
  return {
    name: pluginId,
    command,
    root,
    binds: [...(usesNode ? [{ source: nodePath, target: NODE_INSIDE, writable: false }] : []), ...mounts],
    env: {},
    limits: {
      memoryBytes: Number(limits.memoryBytes),
      cpus: limits.cpus,
      maxProcesses: limits.maxProcesses,
      maxOpenFiles: limits.maxOpenFiles,
      // A tmpfs cannot be smaller than a page.
      tmpBytes: Math.max(4096, Number(limits.tmpBytes)),
    },
    hostChannel: usesHostCalls(manifest),
  };
}

/** Whether the plugin may have a use for host calls: only such plugins get a channel for them. */
export function usesHostCalls(manifest: Manifest): boolean {
  const { required, optional } = manifest.permissions;
  return [...required, ...optional].some((each) => each.startsWith("secrets:lease:"));
}

function commandOf(manifest: Manifest, memoryBytes: number): [string, ...string[]] {
  switch (manifest.runtime) {
    case "node":
      return [NODE_INSIDE, ...nodeFlags(memoryBytes), `/plugin/${manifest.entry}`];
    case "python":
      // Ignore PYTHON* variables and user packages, write no bytecode, do not buffer. Not -I: files beside the entry are its modules.
      return [PYTHON, "-E", "-s", "-B", "-u", `/plugin/${manifest.entry}`];
    case "native":
      return [`/plugin/${manifest.entry}`];
    case "mcp": {
      const [program = "", ...args] = manifest.command;
      return program === NODE_INSIDE ? [program, ...nodeFlags(memoryBytes), ...args] : [program, ...args];
    }
    default:
      throw new NotRunnable(
        `The runtime "${manifest.runtime}" is not offered by this version; there are node, python, native and mcp`,
      );
  }
}

/** The collector works to the plugin's limit, not to the machine's memory; the sandbox enforces, this only helps. */
function nodeFlags(memoryBytes: number): string[] {
  return [`--max-old-space-size=${Math.max(16, Math.floor((memoryBytes * 0.75) / MiB))}`];
}
