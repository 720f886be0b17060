// The files of a plugin's folder that belong into its package.
import { constants } from "node:fs";
import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import type { PackageFile } from "@warren/plugin-manifest";
import { PackError } from "./errors.ts";

/** What is collected. */
export interface CollectOptions {
  /** Bytes of all files together. */
  readonly maxBytes: number;
  /** Whether `node_modules` belongs to it: where nothing is bundled, the program needs it. */
  readonly keepsNodeModules: boolean;
  /** Files that are left out, by their path in the folder. */
  readonly except: ReadonlySet<string>;
}

const ignoredNames = new Set(["__pycache__", "test", "tests"]);
const ignoredEndings = [".log", ".pyc"];

/**
 * Reads a folder's files, following links only as long as they stay inside it. Left out are: names that begin with a dot
 * (`.git`, `.env` and whatever else is nobody's business), `node_modules`, `__pycache__`, `test` and `tests`, `*.log`,
 * `*.pyc`.
 *
 * @throws PackError for a link that leads out or to a folder, for what is no file, and when it is too much.
 */
export async function collectFiles(folder: string, options: CollectOptions): Promise<PackageFile[]> {
  const root = await realpath(folder);
  const files: PackageFile[] = [];
  let total = 0;

  async function walk(current: string, inPackages: boolean): Promise<void> {
    const entries = await readdir(current, { withFileTypes: true });
    for (const entry of entries) {
      const path = join(current, entry.name);
      if (isIgnored(entry.name, inPackages, options.keepsNodeModules)) continue;
      if (entry.isDirectory()) await walk(path, inPackages || entry.name === "node_modules");
      else if (!options.except.has(inFolder(root, path))) await take(path);
    }
  }

  async function take(path: string): Promise<void> {
    const name = inFolder(root, path);
    const file = await readInside(root, path, name, options.maxBytes - total);
    total += file.bytes.byteLength;
    files.push(file);
  }

  await walk(root, false);
  return files;
}

/** The tests of a package that is depended on may be called for by it; those of the plugin itself are not. */
function isIgnored(name: string, inPackages: boolean, keepsNodeModules: boolean): boolean {
  if (name.startsWith(".")) return true;
  if (name === "node_modules") return !keepsNodeModules;
  if (inPackages) return false;
  return ignoredNames.has(name) || ignoredEndings.some((ending) => name.endsWith(ending));
}

async function readInside(root: string, path: string, name: string, room: number): Promise<PackageFile> {
  const real = await realpath(path).catch(() => {
    throw new PackError(`${name} is a link to nothing: remove it`);
  });
  if (real !== root && !real.startsWith(root + sep)) {
    throw new PackError(`${name} is a link that leads out of the plugin's folder: put a copy in its place`);
  }
  // A link may not bring in what would be left out under its own name, such as .env.
  const hidden = inFolder(root, real)
    .split("/")
    .find((segment) => segment.startsWith("."));
  if (hidden !== undefined) throw new PackError(`${name} is a link to ${hidden}, which is never packed: remove it`);
  const { mode, size } = await stat(real);
  if ((mode & constants.S_IFMT) === constants.S_IFDIR) {
    throw new PackError(`${name} is a link to a folder: put a copy in its place`);
  }
  if ((mode & constants.S_IFMT) !== constants.S_IFREG) throw new PackError(`${name} is not a plain file: remove it`);
  if (size > room) throw tooLarge(name);
  const bytes = await readFile(real);
  // It may have grown since.
  if (bytes.byteLength > room) throw tooLarge(name);
  return { path: name, bytes, executable: (mode & 0o111) !== 0 };
}

function tooLarge(name: string): PackError {
  return new PackError(`its files are too large together, at the latest with ${name}: remove what it does not need`);
}

function inFolder(root: string, path: string): string {
  return relative(root, path).split(sep).join("/");
}
