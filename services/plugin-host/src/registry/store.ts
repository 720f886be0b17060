// Packages: in the mesh's object bucket by their digest, and unpacked on this host, from where they run.
import { lstat, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { ObjectBucket } from "@warren/mesh";
import { ManifestError, PackageError, sweepStore, type UnpackedPackage, unpackInto } from "@warren/plugin-manifest";
import { PluginFault } from "../lifecycle/runner.ts";
import { removePackage } from "./remove-package.ts";

/** A package is in no place where this host could get it. */
export class PackageMissing extends Error {
  override readonly name = "PackageMissing";
  constructor(digest: string) {
    super(`the package ${digest} is not in the mesh: upload it, then install again`);
  }
}

/** What is unpacked but not referenced stays this long: another process of this machine may be about to use it. */
const UNREFERENCED_MS = 600_000;
const DIGEST = /^sha256:([0-9a-f]{64})$/;

/** The packages that this host can run. */
export class PackageStore {
  readonly #objects: ObjectBucket;
  readonly #folder: string;
  readonly #loading = new Map<string, Promise<UnpackedPackage>>();

  private constructor(objects: ObjectBucket, folder: string) {
    this.#objects = objects;
    this.#folder = folder;
  }

  /** Opens the store, and clears what a process that was killed has left. */
  static async open(objects: ObjectBucket, folder: string): Promise<PackageStore> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await sweepStore(folder, UNREFERENCED_MS);
    return new PackageStore(objects, folder);
  }

  /**
   * The unpacked package of a digest, fetched and verified if it is not here yet.
   * @throws PackageMissing when the mesh does not hold it, PluginFault when it is refused.
   */
  async ensure(digest: string): Promise<UnpackedPackage> {
    const loading = this.#loading.get(digest) ?? this.#load(digest).finally(() => this.#loading.delete(digest));
    this.#loading.set(digest, loading);
    return loading;
  }

  /** Puts a package into the mesh. */
  async put(bytes: Uint8Array, digest: string): Promise<void> {
    const name = hexOf(digest);
    if (!(await this.#objects.has(name))) await this.#objects.put(name, bytes);
  }

  /** Whether the mesh holds a package. */
  has(digest: string): Promise<boolean> {
    return this.#objects.has(hexOf(digest));
  }

  /**
   * Takes a package out of the mesh, unless something refers to it. `isReferenced` is asked before and after: whoever
   * installed it in between finds it put back, or notices that it is gone.
   */
  async collect(digest: string, isReferenced: () => Promise<boolean>): Promise<void> {
    if (await isReferenced()) return;
    const stream = await this.#objects.get(hexOf(digest));
    if (!stream) return;
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    await this.#objects.delete(hexOf(digest));
    if (await isReferenced()) await this.#objects.put(hexOf(digest), Buffer.concat(chunks));
  }

  /** Removes what is unpacked here and not among `referenced`. What changed lately stays until another time. */
  async sweep(referenced: ReadonlySet<string>, now: number = Date.now()): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      if (!/^[0-9a-f]{64}$/.test(name) || referenced.has(`sha256:${name}`)) continue;
      const path = join(this.#folder, name);
      const stats = await lstat(path).catch(() => undefined);
      if (stats && now - stats.ctimeMs > UNREFERENCED_MS) await removePackage(path);
    }
  }

  async #load(digest: string): Promise<UnpackedPackage> {
    try {
      return await this.#unpack(digest);
    } catch (error) {
      if (error instanceof PackageError || error instanceof ManifestError)
        throw new PluginFault(`its package was refused: ${error.message}`, { cause: error });
      throw error;
    }
  }

  async #unpack(digest: string): Promise<UnpackedPackage> {
    const isHere = await lstat(join(this.#folder, hexOf(digest))).then(
      (stats) => stats.isDirectory(),
      () => false,
    );
    // A package that is here already is not read again, so there is nothing to fetch.
    if (isHere) return unpackInto(new Uint8Array(), digest, this.#folder);
    const stream = await this.#objects.get(hexOf(digest));
    if (!stream) throw new PackageMissing(digest);
    return unpackInto(stream, digest, this.#folder);
  }
}

/** An object's name: the digest without its algorithm. */
function hexOf(digest: string): string {
  const hex = DIGEST.exec(digest)?.[1];
  if (!hex) throw new PluginFault(`its package digest ${JSON.stringify(digest.slice(0, 80))} is no sha256 digest`);
  return hex;
}
