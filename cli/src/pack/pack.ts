// A plugin's folder as a package: what `warren plugin add` and `warren plugin pack` send.
import { readdir, readFile } from "node:fs/promises";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { type Manifest, type Package, type PackageFile, packFolder, parseManifest } from "@warren/plugin-manifest";
import { bundleEntry } from "./bundle.ts";
import { collectFiles } from "./collect.ts";
import { PackError } from "./errors.ts";

const maxBytes = 64 * 1024 * 1024;
const pythonSdkName = "warren_plugin";

/** Where packing finds what it adds. */
export interface PackOptions {
  /** The folder of the SDK for plugins in Python. */
  readonly pythonSdk?: string;
}

/**
 * Makes a plugin's folder into a package. A Node.js plugin is bundled into one file, which becomes its entry point; a
 * Python plugin that imports `warren_plugin` gets that package of ours beside its entry point.
 *
 * @throws PackError, ManifestError or PackageError saying what in the folder is wrong.
 */
export async function packPlugin(folder: string, options: PackOptions = {}): Promise<Package> {
  const json = await readManifest(folder);
  const manifest = parseManifest(json);
  const files = await filesFor(folder, manifest, json, options);
  return packFolder(files, { maxUnpackedBytes: maxBytes, maxPackageBytes: maxBytes });
}

async function readManifest(folder: string): Promise<Buffer> {
  try {
    return await readFile(join(folder, "plugin.json"));
  } catch (error) {
    // Where the folder itself is missing, that is what the caller should hear of.
    await readdir(folder);
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new PackError(`its plugin.json cannot be read (${code}): a plugin's folder has one`, { cause: error });
  }
}

async function filesFor(
  folder: string,
  manifest: Manifest,
  json: Buffer,
  options: PackOptions,
): Promise<PackageFile[]> {
  const collected = { maxBytes, keepsNodeModules: manifest.runtime === "mcp", except: new Set<string>() };
  switch (manifest.runtime) {
    case "node":
      return nodeFiles(folder, manifest, json);
    case "python": {
      const files = await collectFiles(folder, collected);
      return [...files, ...(await vendoredSdk(files, manifest.entry, options))];
    }
    default:
      return collectFiles(folder, collected);
  }
}

/** The bundle lies where the entry point lay, so that files it reads relative to itself are where it looks for them. */
async function nodeFiles(folder: string, manifest: Manifest & { entry: string }, json: Buffer): Promise<PackageFile[]> {
  const { code, sources } = await bundleEntry(folder, manifest.entry);
  const { dir, name: stem } = posix.parse(manifest.entry);
  const entry = posix.join(dir, `${stem}.js`);
  // These speak of the sources. The package's own package.json says that .js is ESM, whatever theirs says.
  const replaced = ["plugin.json", "package.json", "package-lock.json", "tsconfig.json"];
  const except = new Set([...sources, ...replaced]);
  const files = await collectFiles(folder, { maxBytes, keepsNodeModules: false, except });
  if (files.some(({ path }) => path === entry)) {
    throw new PackError(`${entry} is where the bundle of ${manifest.entry} goes: rename or remove it`);
  }
  const pinned = Object.keys(manifest.integrity).find((path) => except.has(path));
  if (pinned !== undefined) throw new PackError(`integrity pins ${pinned}, which packing replaces: remove it there`);
  const { id, version } = manifest;
  // As its author wrote it, defaults left out. The path to the schema for editors means nothing in the package.
  const { $schema: _, ...written } = JSON.parse(json.toString().replace(/^\ufeff/, "")) as Record<string, unknown>;
  return [
    ...files,
    textFile(entry, code),
    textFile("plugin.json", toJson({ ...written, entry })),
    textFile("package.json", toJson({ name: id, version, private: true, type: "module" })),
  ];
}

async function vendoredSdk(files: readonly PackageFile[], entry: string, options: PackOptions): Promise<PackageFile[]> {
  const place = posix.join(posix.dirname(entry), pythonSdkName);
  const isOwn = ({ path }: PackageFile): boolean =>
    [place, pythonSdkName].some((own) => path === `${own}.py` || path.startsWith(`${own}/`));
  const isImported = files.some((file) => file.path.endsWith(".py") && importsSdk(Buffer.from(file.bytes).toString()));
  if (files.some(isOwn) || !isImported) return [];
  const source = options.pythonSdk ?? fileURLToPath(new URL(`../../../sdk/python/${pythonSdkName}`, import.meta.url));
  const sdk = await collectFiles(source, { maxBytes, keepsNodeModules: false, except: new Set() });
  return sdk.map((file) => ({ ...file, path: posix.join(place, file.path) }));
}

function importsSdk(source: string): boolean {
  return /^[ \t]*(?:from[ \t]+warren_plugin(?:\.\w+)?[ \t]+import|import[ \t][^\n#]*\bwarren_plugin\b)/m.test(source);
}

function textFile(path: string, text: string): PackageFile {
  return { path, bytes: Buffer.from(text) };
}

function toJson(value: object): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
