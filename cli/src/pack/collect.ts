// The files of a plugin's folder that belong into its package.
import { lstat, readdir, readFile, realpath } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { PackageError, type PackageFile } from "@warren/plugin-manifest";

/** Folders and files that are an author's, not the plugin's. */
const LEFT_OUT = [
  /^node_modules$/,
  /^\.git$/,
  /^__pycache__$/,
  /^tests?$/,
  /^dist-types$/,
  /\.log$/,
  /^\.DS_Store$/,
  /^\.env/,
];

/**
 * Reads a plugin's files.
 * @throws PackageError when one is a link out of the folder, a device or a socket, or all together are over `maxBytes`.
 */
export async function collectFiles(folder: string, maxBytes: number): Promise<PackageFile[]> {
  const root = await realpath(folder);
  const files: PackageFile[] = [];
  let total = 0;
  const visit = async (directory: string): Promise<void> => {
    for (const name of (await readdir(directory)).toSorted()) {
      if (LEFT_OUT.some((pattern) => pattern.test(name))) continue;
      const path = join(directory, name);
      const inside = relative(root, path).split(sep).join("/");
      const target = await realpath(path);
      if (target !== root && !target.startsWith(root + sep))
        throw new PackageError(
          "ENTRY_REFUSED",
          `${inside} is a link to ${target}, outside of the plugin's folder: copy the file instead`,
        );
      const entry = await lstat(target);
      if (entry.isDirectory()) {
        if ((await lstat(path)).isSymbolicLink())
          throw new PackageError("ENTRY_REFUSED", `${inside} is a link to a folder: copy the folder instead`);
        await visit(path);
      } else if (entry.isFile()) {
        total += entry.size;
        if (total > maxBytes)
          throw new PackageError(
            "TOO_LARGE",
            `the files are over ${maxBytes} bytes: leave out what the plugin does not need`,
          );
        files.push({ path: inside, bytes: await readFile(target), executable: (entry.mode & 0o111) !== 0 });
      } else throw new PackageError("ENTRY_REFUSED", `${inside} is neither a file nor a folder`);
    }
  };
  await visit(root);
  return files;
}
