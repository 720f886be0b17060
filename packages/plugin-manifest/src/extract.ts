import { createHash } from "node:crypto";
import { mkdir, open, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import * as tar from "tar-stream";
import { PackageError } from "./errors.ts";
import type { FileEntry, PackageBounds } from "./package.ts";
import { createPathRegister, relativePathProblem, type PathRegister } from "./relative-path.ts";

/** Files written but not yet on disk. fsync one at a time makes thousands of small files slow. */
const maxUnsynced = 16;
/** Bytes of tar around a file's own: its header, a long name's header, and padding. */
const overheadPerFile = 4096;

/**
 * Writes the files of a gzip'd tar into an empty folder that only the caller can reach, counting while it reads.
 * Files are read-only and on disk when it returns; folders are neither yet.
 *
 * @throws PackageError for anything that is not a plain file inside the folder, too much of it, or a damaged archive.
 */
export async function extractFiles(
  source: NodeJS.ReadableStream,
  folder: string,
  bounds: PackageBounds,
): Promise<FileEntry[]> {
  const archive = tar.extract();
  const entries = archive[Symbol.asyncIterator]();
  const reading = pipeline(
    source,
    createGunzip(),
    countBytes(bounds.maxUnpackedBytes + bounds.maxFiles * overheadPerFile),
    archive,
  );
  const [written, read] = await Promise.allSettled([writeEntries(entries, folder, bounds), reading]);
  // A refused entry ends the pipeline early, which then has an error of its own: the first one is the reason.
  if (written.status === "rejected") throw asPackageError(written.reason);
  if (read.status === "rejected") throw asPackageError(read.reason);
  return written.value;
}

async function writeEntries(
  entries: AsyncIterator<tar.Entry>,
  folder: string,
  bounds: PackageBounds,
): Promise<FileEntry[]> {
  const files: FileEntry[] = [];
  const register = createPathRegister();
  const unsynced = new Set<Promise<void>>();
  let total = 0;
  try {
    for await (const entry of { [Symbol.asyncIterator]: () => entries }) {
      checkHeader(entry.header, register);
      total += entry.header.size;
      if (total > bounds.maxUnpackedBytes) throw tooLarge(`more than ${bounds.maxUnpackedBytes} bytes of files`);
      if (register.size > bounds.maxFiles) throw tooLarge(`more than ${bounds.maxFiles} files and folders`);
      const { file, handle } = await writeEntry(entry, folder);
      files.push(file);
      const syncing = syncAndClose(handle);
      unsynced.add(syncing);
      // Awaited below; until then a failure must not count as unhandled.
      syncing.catch(() => undefined);
      if (unsynced.size >= maxUnsynced) await settleAll(unsynced);
    }
    await settleAll(unsynced);
    return files;
  } finally {
    await Promise.allSettled(unsynced);
  }
}

async function syncAndClose(handle: FileHandle): Promise<void> {
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function settleAll(pending: Set<Promise<void>>): Promise<void> {
  const all = [...pending];
  pending.clear();
  await Promise.all(all);
}

function checkHeader(header: tar.Entry["header"], register: PathRegister): void {
  const shown = JSON.stringify(header.name.slice(0, 200));
  if (header.type !== "file") {
    const type = header.type ?? "entry of an unknown kind";
    throw refused(`${shown} is a ${type}: a package holds plain files only`);
  }
  const problem = relativePathProblem(header.name) ?? register.add(header.name);
  if (problem !== undefined) throw refused(`${shown} ${problem}`);
  if (header.mode !== 0o644 && header.mode !== 0o755) {
    throw refused(`${shown} has mode ${header.mode.toString(8)}: only 644 and 755 are allowed`);
  }
}

async function writeEntry(entry: tar.Entry, folder: string): Promise<{ file: FileEntry; handle: FileHandle }> {
  const { name, mode, size } = entry.header;
  const path = join(folder, name);
  await mkdir(dirname(path), { recursive: true });
  const hash = createHash("sha256");
  const handle = await open(path, "wx", 0o600);
  try {
    for await (const chunk of entry as AsyncIterable<Uint8Array>) {
      hash.update(chunk);
      await handle.writeFile(chunk);
    }
    await handle.chmod(mode === 0o755 ? 0o555 : 0o444);
    const file: FileEntry = { path: name, mode: mode === 0o755 ? "0755" : "0644", size, sha256: hash.digest("hex") };
    return { file, handle };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Stops a decompression bomb while it unfolds, whatever its headers claim. */
function countBytes(maxBytes: number): Transform {
  let total = 0;
  return new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      total += chunk.byteLength;
      if (total > maxBytes) done(tooLarge(`it unpacks to more than ${maxBytes} bytes`));
      else done(null, chunk);
    },
  });
}

function refused(message: string): PackageError {
  return new PackageError("ENTRY_REFUSED", `the package is refused: ${message}`);
}

function tooLarge(message: string): PackageError {
  return new PackageError("TOO_LARGE", `the package is refused: ${message}`);
}

/** Errors of the file system stay what they are: they say that the disk is full, not that the package is bad. */
function asPackageError(error: unknown): unknown {
  if (error instanceof PackageError) return error;
  const isSystemError = error instanceof Error && "syscall" in error;
  if (isSystemError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new PackageError("DAMAGED", `the package is not a gzip'd tar or is cut short: ${reason}`, { cause: error });
}
