import type { Command } from "commander";
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { answer, type Context, type GlobalOptions } from "../../context.ts";
import { CliError, ExitCode, systemCode } from "../../errors.ts";
import { packed } from "./packed.ts";

interface PackOptions extends GlobalOptions {
  readonly output?: string;
}

/** `warren plugin pack`. */
export function registerPack(plugin: Command, context: Context): void {
  plugin
    .command("pack")
    .description("make a plugin's folder into a package, without installing it")
    .argument("<folder>", "holds plugin.json")
    .option("-o, --output <file>", "where the package goes (<id>-<version>.tar.gz)")
    .action(async (folder: string, _options: PackOptions, command: Command) =>
      pack(context, folder, command.optsWithGlobals()),
    );
}

async function pack(context: Context, folder: string, options: PackOptions): Promise<void> {
  const { bytes, digest, manifest } = await packed(context, folder);
  const file = resolve(options.output ?? `${manifest.id}-${manifest.version}.tar.gz`);
  await writeFile(file, bytes).catch((error: unknown) => {
    throw new CliError(ExitCode.failure, `${file} cannot be written (${systemCode(error)})`);
  });
  const { id, version } = manifest;
  answer(
    context,
    options,
    { id, version, digest, size: bytes.byteLength, file },
    () => `Packed ${id} ${version} into ${file} (${bytes.byteLength} bytes).\n${digest}`,
  );
}
