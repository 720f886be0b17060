// Grants of files as mounts of the sandbox: the kernel enforces them.
import { realpath } from "node:fs/promises";
import { parsePermission } from "@warren/plugin-manifest";
import { GrantsRefused } from "./guard.ts";

/** A file or folder of the host that the plugin sees at the same path. */
export interface Mount {
  readonly source: string;
  readonly target: string;
  readonly writable: boolean;
}

/** Folders that the sandbox makes itself: a mount over or in one of them would undo it. */
const OWN = [
  "/plugin",
  "/runtime",
  "/proc",
  "/sys",
  "/dev",
  "/usr",
  "/bin",
  "/sbin",
  "/lib",
  "/lib32",
  "/lib64",
  "/etc",
  "/run",
  "/boot",
];

/**
 * The mounts that grants of `fs:read` and `fs:write` ask for, outermost first.
 * @param forbidden Folders of the host that no plugin may see, such as where packages are kept.
 * @throws GrantsRefused when a path does not exist, leads over a symbolic link (whoever can write there could point it
 * elsewhere), covers the sandbox's own folders, or touches a forbidden one.
 */
export async function mountsOf(granted: readonly string[], forbidden: readonly string[]): Promise<Mount[]> {
  const mounts = new Map<string, Mount>();
  for (const text of granted) {
    const { area, action, scope: path } = parsePermission(text);
    if (area !== "fs" || path === undefined) continue;
    const writable = action === "write" || (mounts.get(path)?.writable ?? false);
    const own = OWN.find((each) => isWithin(path, each) || isWithin(each, path));
    if (path === "/" || path === "/tmp" || own)
      throw new GrantsRefused(`${text} cannot be granted: the sandbox has a ${own ?? path} of its own`);
    if (forbidden.some((each) => isWithin(path, each) || isWithin(each, path)))
      throw new GrantsRefused(`${text} cannot be granted: it holds the packages of the plugins themselves`);
    const real = await realpath(path).catch((cause: unknown) => {
      throw new GrantsRefused(`${text} cannot be granted: ${path} cannot be found on this host (${codeOf(cause)})`);
    });
    if (real !== path)
      throw new GrantsRefused(`${text} cannot be granted: ${path} is or lies behind a symbolic link; grant ${real}`);
    mounts.set(path, { source: path, target: path, writable });
  }
  return [...mounts.values()].toSorted((left, right) => left.target.length - right.target.length);
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown error";
}
