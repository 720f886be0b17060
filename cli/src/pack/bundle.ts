// One file out of a Node.js plugin's sources and all they import.
import { isBuiltin } from "node:module";
import { realpath } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type OutputChunk, type Plugin, type RolldownOutput } from "rolldown";
import { PackError } from "./errors.ts";

/** A bundle. */
export interface Bundle {
  /** ESM for Node.js that imports nothing but Node.js itself. */
  readonly code: string;
  /** Those of the folder's files that went into it, by their path in the folder. */
  readonly sources: ReadonlySet<string>;
}

const sdk = "@warren/plugin-sdk";

/**
 * Bundles a plugin's entry point, TypeScript or JavaScript, with everything it imports. The plugin SDK is found also where
 * the folder has no `node_modules`.
 *
 * @throws PackError with the place in the source that does not parse, resolve or bundle.
 */
export async function bundleEntry(folder: string, entry: string): Promise<Bundle> {
  // Links resolved, as the bundler resolves them: only then does one path lie in the other.
  const root = await realpath(folder);
  const output = await runBundler(root, entry);
  const [chunk, ...others] = output.output;
  if (others.length > 0)
    throw new PackError(
      `${entry} does not bundle into one file: it also gives ${others.map(({ fileName }) => fileName).join(", ")}`,
    );
  const outside = [...chunk.imports, ...chunk.dynamicImports].filter((name) => !isBuiltin(name));
  if (outside.length > 0) {
    throw new PackError(
      `${entry} imports ${outside.join(", ")}, which was not found: install it in the plugin's folder`,
    );
  }
  return { code: chunk.code, sources: sourcesIn(root, chunk) };
}

async function runBundler(root: string, entry: string): Promise<RolldownOutput> {
  try {
    return await build({
      cwd: root,
      input: join(root, entry),
      platform: "node",
      write: false,
      plugins: [sdkFallback()],
      // What matters of the warnings, imports that are not found, is looked for in the result.
      logLevel: "silent",
      // Paths of this machine would make the digest differ from one folder to the next.
      experimental: { attachDebugInfo: "none" },
      output: { format: "esm", codeSplitting: false, sourcemap: false },
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new PackError(`${entry} cannot be bundled: ${plain(reason)}`, { cause: error });
  }
}

/** Without this, a plugin outside of any workspace would have to install a package it needs only while being packed. */
function sdkFallback(): Plugin {
  return {
    name: "warren-plugin-sdk",
    async resolveId(source, importer) {
      if (source !== sdk) return null;
      const found = await this.resolve(source, importer, { skipSelf: true });
      return found && !found.external ? found : { id: await realpath(fileURLToPath(import.meta.resolve(sdk))) };
    },
  };
}

function sourcesIn(root: string, chunk: OutputChunk): Set<string> {
  const inside = chunk.moduleIds.filter((id) => id.startsWith(root + sep));
  return new Set(inside.map((id) => relative(root, id).split(sep).join("/")));
}

/** The bundler's messages without colours and empty lines. */
function plain(text: string): string {
  const withoutColours = text.replaceAll(new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g"), "");
  return withoutColours.replace(/^Build failed with \d+ errors?:\s*/, "").trim();
}
