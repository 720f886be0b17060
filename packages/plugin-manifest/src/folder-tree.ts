import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { chmod, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { PackageError } from "./errors.ts";
import { type FileEntry, sortByPath } from "./package.ts";

/** Makes every folder of a tree read-only and brings it to disk, from the leaves up. */
export async function sealFolders(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await sealFolders(join(folder, entry.name));
  }
  await chmod(folder, 0o555);
  await syncFolder(folder);
}

/** Brings a folder's list of names to disk. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes a tree of which folders may be read-only. Nothing happens when it is not there. */
export async function removeTree(folder: string): Promise<void> {
  await unsealFolders(folder);
  await rm(folder, { recursive: true, force: true });
}

async function unsealFolders(folder: string): Promise<void> {
  try {
    await chmod(folder, 0o700);
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) await unsealFolders(join(folder, entry.name));
    }
  } catch (error) {
    // Another process may be removing the same tree.
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
}

/**
 * Lists what is in an unpacked package, hashing every file: what a signature is checked against.
 *
 * @throws PackageError `ENTRY_REFUSED` for a link or a device, which no unpacked package has.
 */
export async function describeFolder(folder: string): Promise<FileEntry[]> {
  const files: FileEntry[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isDirectory()) continue;
    const absolute = join(entry.parentPath, entry.name);
    if (!entry.isFile()) throw new PackageError("ENTRY_REFUSED", `${absolute} is not a plain file`);
    files.push(await describeFile(absolute, absolute.slice(folder.length + 1)));
  }
  return sortByPath(files);
}

async function describeFile(absolute: string, path: string): Promise<FileEntry> {
  const handle = await open(absolute, "r");
  try {
    const { mode, size } = await handle.stat();
    const hash = createHash("sha256");
    await pipeline(createReadStream("", { fd: handle.fd, autoClose: false }), hash);
    return { path, mode: (mode & 0o100) === 0 ? "0644" : "0755", size, sha256: hash.digest("hex") };
  } finally {
    await handle.close();
  }
}
