// A Node.js plugin's entry with all that it imports, as one file: the sandbox has no node_modules.
import { extname } from "node:path";
import { PackageError } from "@warren/plugin-manifest";
import { rolldown } from "rolldown";

/** The entry's name in the package. */
export const BUNDLE_PATH = "main.mjs";

/** Whether an entry must be bundled: it imports packages or is TypeScript. A file that stands alone is taken as it is. */
export function needsBundle(entry: string, source: string): boolean {
  return extname(entry) !== ".mjs" || /^\s*(import|export)\b[^"']*["'](?!node:|\.)/m.test(source);
}

/**
 * Bundles an entry into one ES module for Node.js.
 * @throws PackageError that says what could not be resolved or parsed, and where.
 */
export async function bundleEntry(entry: string): Promise<Uint8Array> {
  const problems: string[] = [];
  try {
    const build = await rolldown({
      input: entry,
      platform: "node",
      external: /^node:/,
      logLevel: "warn",
      onLog: (level, log) => {
        // An import that is left in place would fail inside the sandbox.
        if (level === "warn" && log.code === "UNRESOLVED_IMPORT") problems.push(log.message);
      },
    });
    try {
      const { output } = await build.generate({ format: "esm", codeSplitting: false });
      if (problems.length) throw new PackageError("CONTENT_MISMATCH", problems.join("\n"));
      const [chunk, ...rest] = output;
      if (rest.length)
        throw new PackageError("CONTENT_MISMATCH", `${entry} bundles to ${output.length} files instead of one`);
      return Buffer.from(chunk.code);
    } finally {
      await build.close();
    }
  } catch (cause) {
    if (cause instanceof PackageError) throw cause;
    throw new PackageError(
      "CONTENT_MISMATCH",
      `${entry} cannot be bundled: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}
