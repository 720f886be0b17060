import { createHash, timingSafeEqual } from "node:crypto";
import { lstat, mkdir, mkdtemp, open, readdir, readFile, rename, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { PackageError } from "./errors.ts";
import { extractFiles } from "./extract.ts";
import { removeTree, sealFolders, syncFolder } from "./folder-tree.ts";
import { parseManifest } from "./manifest.ts";
import type { Manifest } from "./manifest-schema.ts";
import { checkAgainstManifest, defaultPackageBounds, type PackageBounds } from "./package.ts";

/** A package in the store. */
export interface UnpackedPackage {
  /** Absolute if the store's path is. Read-only, whole, on disk. */
  readonly folder: string;
  readonly digest: string;
  readonly manifest: Manifest;
}

const temporaryPrefix = ".unpack-";

/**
 * Unpacks a package into a content-addressed store, as `<store>/<sha256 in hexadecimal>`. Nothing of it is read before its
 * digest is verified, and the folder appears whole or not at all. A package that is already there is not read again;
 * several processes may unpack the same one at once.
 *
 * @param source the package, or a stream of it, which is spooled to disk first.
 * @param expectedDigest `sha256:<64 hexadecimal digits>` from a source that is trusted.
 * @throws PackageError and ManifestError when it is refused; nothing is left behind.
 * @example
 * ```ts
 * const { folder, manifest } = await unpackInto(bytes, record.packageDigest, "/var/lib/warren/packages");
 * ```
 */
export async function unpackInto(
  source: Uint8Array | AsyncIterable<Uint8Array>,
  expectedDigest: string,
  store: string,
  bounds: Partial<PackageBounds> = {},
): Promise<UnpackedPackage> {
  const limits = { ...defaultPackageBounds, ...bounds };
  const hex = /^sha256:([0-9a-f]{64})$/.exec(expectedDigest)?.[1];
  if (hex === undefined) {
    throw new PackageError("DIGEST_MISMATCH", "a package's digest must be sha256: and 64 hexadecimal digits");
  }
  const folder = join(store, hex);
  if (await isFolder(folder)) {
    if (source instanceof Readable) source.destroy();
    return readUnpacked(folder, expectedDigest);
  }
  await mkdir(store, { recursive: true });
  const temporary = await mkdtemp(join(store, temporaryPrefix));
  try {
    const verified =
      source instanceof Uint8Array ? verify(source, hex, limits) : await spool(source, temporary, hex, limits);
    const files = await extractFiles(verified, temporary, limits);
    if (!files.some(({ path }) => path === "plugin.json")) {
      throw new PackageError("CONTENT_MISMATCH", "the package has no plugin.json");
    }
    checkAgainstManifest(parseManifest(await readFile(join(temporary, "plugin.json"))), files);
    await sealFolders(temporary);
    await moveInto(temporary, folder);
    await syncFolder(store);
  } catch (error) {
    await removeTree(temporary);
    throw error;
  }
  return readUnpacked(folder, expectedDigest);
}

/**
 * Removes what a process that was killed while unpacking has left in a store. Run it when a host starts.
 *
 * @param olderThanMs what was begun within this time may still be worked on by another process and stays.
 */
export async function sweepStore(store: string, olderThanMs: number, now: number = Date.now()): Promise<void> {
  for (const name of await readdir(store)) {
    if (!name.startsWith(temporaryPrefix)) continue;
    const path = join(store, name);
    const begun = await lstat(path).then(
      (stats) => stats.birthtimeMs,
      () => now,
    );
    if (now - begun > olderThanMs) await removeTree(path);
  }
}

async function readUnpacked(folder: string, digest: string): Promise<UnpackedPackage> {
  return { folder, digest, manifest: parseManifest(await readFile(join(folder, "plugin.json"))) };
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isDirectory();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}

/** The same digest means the same content, so whoever comes second may throw his own away. */
async function moveInto(temporary: string, folder: string): Promise<void> {
  try {
    await rename(temporary, folder);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "ENOTEMPTY" && code !== "EEXIST") throw error;
    await removeTree(temporary);
  }
}

function verify(bytes: Uint8Array, hex: string, bounds: PackageBounds): Readable {
  if (bytes.byteLength > bounds.maxPackageBytes) throw tooLarge(bounds);
  checkDigest(createHash("sha256").update(bytes).digest(), hex);
  return Readable.from([bytes]);
}

/** Writes the stream into a file without a name, so that no crash can leave it behind, and verifies it there. */
async function spool(
  source: AsyncIterable<Uint8Array>,
  folder: string,
  hex: string,
  bounds: PackageBounds,
): Promise<Readable> {
  const path = join(folder, ".spool");
  const handle = await open(path, "wx+", 0o600);
  try {
    await rm(path);
    const hash = createHash("sha256");
    let total = 0;
    for await (const chunk of source) {
      total += chunk.byteLength;
      if (total > bounds.maxPackageBytes) throw tooLarge(bounds);
      hash.update(chunk);
      await writeAll(handle, chunk);
    }
    checkDigest(hash.digest(), hex);
    return handle.createReadStream({ start: 0, autoClose: true });
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  let written = 0;
  while (written < chunk.byteLength) written += (await handle.write(chunk, written)).bytesWritten;
}

function checkDigest(actual: Buffer, hex: string): void {
  if (timingSafeEqual(actual, Buffer.from(hex, "hex"))) return;
  throw new PackageError(
    "DIGEST_MISMATCH",
    `the package was refused: its digest is sha256:${actual.toString("hex")}, not sha256:${hex} as asked for`,
  );
}

function tooLarge(bounds: PackageBounds): PackageError {
  return new PackageError("TOO_LARGE", `the package was refused: it has more than ${bounds.maxPackageBytes} bytes`);
}
