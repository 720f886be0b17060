// Every setting of the service, beside those that all services have.
import { readFileSync } from "node:fs";
import { parseCredentials, seedBytes } from "@warren/mesh";
import { z } from "zod";

const flag = z.union([z.boolean(), z.enum(["true", "false"]).transform((text) => text === "true")]);

/** The settings, as `runService` reads them from the environment or the configuration file. */
export const config = z.object({
  operatorTokenFile: z
    .string()
    .optional()
    .describe(
      "File with the operator's token (mode 0600); made at the first start. Absent: this machine has no operator.",
    )
    .meta({ env: "WARREN_OPERATOR_TOKEN_FILE" }),
  pairingTotp: z
    .enum(["enabled", "always", "never"])
    .default("enabled")
    .describe("When a pairing asks for a one-time password: once they are set up; always; never.")
    .meta({ env: "WARREN_PAIRING_TOTP" }),
  pairingRequireProof: flag
    .default(false)
    .describe("Pair only devices that prove their key with each request (DPoP). true or false.")
    .meta({ env: "WARREN_PAIRING_REQUIRE_PROOF" }),
  pairingShowCodeInLog: flag
    .default(false)
    .describe("Write pairing codes to the log: only where nobody but the operator reads it. true or false.")
    .meta({ env: "WARREN_PAIRING_SHOW_CODE_IN_LOG" }),
});

/**
 * The secret under which this service seals what it keeps: the bytes of its mesh credential's seed, which all replicas
 * share and nobody else holds. Replacing the credential replaces the signing key and ends the pairings under way.
 */
export function sealingKey({ meshCredentials }: { readonly meshCredentials: string }): Uint8Array {
  return seedBytes(parseCredentials(readFileSync(meshCredentials, "utf8")).seed);
}
