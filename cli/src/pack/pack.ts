// A plugin's folder as a package that needs nothing but its runtime.
import { readFile, realpath } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Package, PackageError, type PackageFile, packFolder, parseManifest } from "@warren/plugin-manifest";
import { BUNDLE_PATH, bundleEntry, needsBundle } from "./bundle.ts";
import { collectFiles } from "./collect.ts";

const MAX_BYTES = 64 << 20;
const PYTHON_SDK = fileURLToPath(new URL("../../../sdk/python/warren_plugin.py", import.meta.url));
const PYTHON_SDK_NAME = "warren_plugin.py";

/**
 * Packs a plugin's folder. What a Node.js entry imports is bundled with it; a Python plugin that imports `warren_plugin`
 * gets that file beside its entry.
 *
 * @throws ManifestError when `plugin.json` is wrong, PackageError when the files are.
 */
export async function packPlugin(folder: string): Promise<Package> {
  const root = await realpath(folder);
  const manifestBytes = await readFile(join(root, "plugin.json")).catch((cause: unknown) => {
    throw new PackageError("CONTENT_MISMATCH", `${folder} holds no plugin.json that can be read`, { cause });
  });
  const manifest = parseManifest(manifestBytes);
  const files = await collectFiles(root, MAX_BYTES);
  if (manifest.runtime === "node" && manifest.entry) return packNode(root, manifest.entry, files, manifestBytes);
  if (manifest.runtime === "python") return packFolder(await withPythonSdk(files));
  return packFolder(files);
}

async function packNode(root: string, entry: string, files: PackageFile[], manifestBytes: Buffer): Promise<Package> {
  const source = files.find(({ path }) => path === entry);
  if (!source) throw new PackageError("CONTENT_MISMATCH", `the entry ${entry} is not in the folder`);
  if (!needsBundle(entry, Buffer.from(source.bytes).toString())) return packFolder(files);
  const rewritten = { ...(JSON.parse(manifestBytes.toString()) as object), entry: BUNDLE_PATH };
  // What was bundled is left out; data beside it stays.
  const kept = files.filter(
    ({ path }) =>
      path !== "plugin.json" && path !== "package.json" && path !== BUNDLE_PATH && !/\.[cm]?[jt]sx?$/.test(path),
  );
  return packFolder([
    ...kept,
    { path: "plugin.json", bytes: Buffer.from(`${JSON.stringify(rewritten, undefined, 2)}\n`) },
    { path: BUNDLE_PATH, bytes: await bundleEntry(join(root, entry)) },
  ]);
}

async function withPythonSdk(files: PackageFile[]): Promise<PackageFile[]> {
  const there = files.some(({ path }) => path === PYTHON_SDK_NAME);
  const imported = files.some(
    ({ path, bytes }) =>
      path.endsWith(".py") && /^\s*(from|import)\s+warren_plugin\b/m.test(Buffer.from(bytes).toString()),
  );
  return there || !imported ? files : [...files, { path: PYTHON_SDK_NAME, bytes: await readFile(PYTHON_SDK) }];
}
