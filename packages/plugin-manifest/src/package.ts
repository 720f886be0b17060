import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import * as tar from "tar-stream";
import { PackageError } from "./errors.ts";
import { parseManifest } from "./manifest.ts";
import type { Manifest } from "./manifest-schema.ts";
import { createPathRegister, relativePathProblem } from "./relative-path.ts";

/** A file on its way into a package. */
export interface PackageFile {
  /** Relative to the plugin's folder, `/`-separated. */
  readonly path: string;
  readonly bytes: Uint8Array;
  /** Whether it may be executed: mode 0755 instead of 0644. */
  readonly executable?: boolean;
}

/** A file in a package, as signatures and checks name it. */
export interface FileEntry {
  readonly path: string;
  readonly mode: "0644" | "0755";
  /** Bytes. */
  readonly size: number;
  /** Hexadecimal, lower case. */
  readonly sha256: string;
}

/** How big a package may be. */
export interface PackageBounds {
  /** Bytes of the package itself. */
  readonly maxPackageBytes: number;
  /** Bytes of all its files together. */
  readonly maxUnpackedBytes: number;
  /** Files and folders. */
  readonly maxFiles: number;
}

/** Room for an MCP server with all its node_modules. */
export const defaultPackageBounds: PackageBounds = {
  maxPackageBytes: 128 * 1024 * 1024,
  maxUnpackedBytes: 512 * 1024 * 1024,
  maxFiles: 50_000,
};

/** A package, made. */
export interface Package {
  /** A gzip'd tar, the same bytes for the same files. */
  readonly bytes: Buffer;
  /** `sha256:<64 hexadecimal digits>` of the bytes: the package's name in the mesh. */
  readonly digest: string;
  readonly manifest: Manifest;
}

/** The name by which a package is stored and asked for. */
export function packageDigest(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/**
 * Makes a package of a plugin's files, of which `plugin.json` is one. Order, times, owners and modes are fixed, so that
 * the same files give the same digest on every machine with the same zlib.
 *
 * @throws ManifestError when `plugin.json` is wrong.
 * @throws PackageError when a path is not allowed, two collide, the files do not fit the manifest, or they are too many or too big.
 */
export async function packFolder(files: readonly PackageFile[], bounds: Partial<PackageBounds> = {}): Promise<Package> {
  const limits = { ...defaultPackageBounds, ...bounds };
  const sorted = sortByPath(files);
  const register = createPathRegister();
  let total = 0;
  for (const { path, bytes } of sorted) {
    const problem = relativePathProblem(path) ?? register.add(path);
    if (problem !== undefined) throw new PackageError("ENTRY_REFUSED", `${JSON.stringify(path)} ${problem}`);
    total += bytes.byteLength;
  }
  if (register.size > limits.maxFiles) {
    throw new PackageError("TOO_LARGE", `${register.size} files and folders are more than ${limits.maxFiles}`);
  }
  if (total > limits.maxUnpackedBytes) {
    throw new PackageError("TOO_LARGE", `${total} bytes of files are more than ${limits.maxUnpackedBytes}`);
  }
  const manifestFile = sorted.find(({ path }) => path === "plugin.json");
  if (manifestFile === undefined) throw new PackageError("CONTENT_MISMATCH", "there is no plugin.json");
  const manifest = parseManifest(manifestFile.bytes);
  checkAgainstManifest(manifest, describeFiles(sorted));
  const bytes = await compress(await writeTar(sorted));
  if (bytes.byteLength > limits.maxPackageBytes) {
    throw new PackageError(
      "TOO_LARGE",
      `the package has ${bytes.byteLength} bytes, more than ${limits.maxPackageBytes}`,
    );
  }
  return { bytes, digest: packageDigest(bytes), manifest };
}

/** Lists files as signatures name them, sorted by path. */
export function describeFiles(files: readonly PackageFile[]): FileEntry[] {
  return sortByPath(files).map(({ path, bytes, executable }) => ({
    path,
    mode: executable ? "0755" : "0644",
    size: bytes.byteLength,
    sha256: createHash("sha256").update(bytes).digest("hex"),
  }));
}

/** Sorts by the bytes of the path, which no locale changes. */
export function sortByPath<T extends { readonly path: string }>(files: readonly T[]): T[] {
  return files.toSorted((left, right) => Buffer.compare(Buffer.from(left.path), Buffer.from(right.path)));
}

/**
 * Checks that the files are those the manifest speaks of: the entry point is there, and pinned files have their hashes.
 *
 * @throws PackageError `CONTENT_MISMATCH`.
 */
export function checkAgainstManifest(manifest: Manifest, files: readonly FileEntry[]): void {
  const byPath = new Map(files.map((file) => [file.path, file]));
  if (manifest.runtime !== "mcp") {
    const entry = byPath.get(manifest.entry);
    if (entry === undefined) throw mismatch(`the entry point ${manifest.entry} is not among the files`);
    if (manifest.runtime === "native" && entry.mode !== "0755") {
      throw mismatch(`the entry point ${manifest.entry} is not executable: chmod +x it`);
    }
  }
  for (const [path, hash] of Object.entries(manifest.integrity)) {
    const file = byPath.get(path);
    if (file === undefined) throw mismatch(`integrity pins ${path}, which is not among the files`);
    if (`sha256:${file.sha256}` !== hash) throw mismatch(`${path} has not the content that integrity pins`);
  }
}

function mismatch(message: string): PackageError {
  return new PackageError("CONTENT_MISMATCH", message);
}

async function writeTar(files: readonly PackageFile[]): Promise<Buffer> {
  const pack = tar.pack();
  const mtime = new Date(0);
  for (const { path, bytes, executable } of files) {
    const mode = executable ? 0o755 : 0o644;
    pack.entry({ name: path, type: "file", size: bytes.byteLength, mode, uid: 0, gid: 0, mtime }, bytes);
  }
  pack.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of pack) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const gzipAsync = promisify(gzip);

async function compress(bytes: Uint8Array): Promise<Buffer> {
  const compressed = await gzipAsync(bytes, { level: 9 });
  compressed[9] = 255; // The operating system in gzip's header (RFC 1952): unknown, everywhere.
  return compressed;
}
