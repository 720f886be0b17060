import type { Context } from "../../context.ts";
import { CliError, ExitCode, systemCode } from "../../errors.ts";
import type { PackedPlugin } from "../../parts.ts";

/** Packs a folder. @throws CliError saying what in it is wrong. */
export async function packed(context: Context, folder: string): Promise<PackedPlugin> {
  try {
    return await context.packPlugin(folder);
  } catch (error) {
    if (error instanceof CliError || !(error instanceof Error)) throw error;
    const code = systemCode(error);
    const why = code === "ENOENT" || code === "ENOTDIR" ? `there is no such folder (${code})` : error.message;
    throw new CliError(ExitCode.failure, `${folder} cannot be packed: ${why}`, undefined, { cause: error });
  }
}
