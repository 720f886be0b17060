// Every setting of the service, beside those that all services have.
import { join } from "node:path";
import { z } from "zod";
import type { RootKeySource } from "./vault/root-key.ts";

/** The settings, as `runService` reads them from the environment or the configuration file. */
export const config = z.object({
  dataDir: z.string().default(".warren").describe("Folder of this machine's data.").meta({ env: "WARREN_DATA_DIR" }),
  rootKeyFile: z
    .string()
    .optional()
    .describe(
      "File with the root key that seals the key ring (32 bytes, mode 0600); made at the first start. Default: secrets/root.key in WARREN_DATA_DIR.",
    )
    .meta({ env: "WARREN_SECRETS_ROOT_KEY_FILE" }),
  passphraseFile: z
    .string()
    .optional()
    .describe("File with a passphrase (mode 0600) from which the root key is derived; then no root key file is used.")
    .meta({ env: "WARREN_SECRETS_PASSPHRASE_FILE" }),
  acceptGeneration: z.coerce
    .number()
    .int()
    .positive()
    .optional()
    .describe("After a backup was restored on purpose: the generation that the log names, to accept it once.")
    .meta({ env: "WARREN_SECRETS_ACCEPT_GENERATION" }),
});

/** The settings as read. */
export type Config = z.infer<typeof config>;

/**
 * Where the root key comes from: a passphrase where one is configured, else a file. Neither takes over from the other by mistake: a key
 * ring made with one kind does not open with the other.
 */
export function rootKeySource({ dataDir, rootKeyFile, passphraseFile }: Config): RootKeySource {
  if (passphraseFile !== undefined) return { kind: "passphrase", path: passphraseFile };
  return { kind: "file", path: rootKeyFile ?? join(dataDir, "secrets", "root.key") };
}
