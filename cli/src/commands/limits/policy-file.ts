import { readFile } from "node:fs/promises";
import { systemCode, usageError } from "../../errors.ts";

/** The policy in a file; whether it can be meant is for the gateway to say. @throws CliError (usage) when it is no JSON. */
export async function readPolicy(file: string): Promise<unknown> {
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    throw usageError(`${file} cannot be read (${systemCode(error)})`, "name a JSON file with limits");
  });
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw usageError(`${file} is not JSON: ${(error as Error).message}`, "see docs/reference/limits.schema.json");
  }
}
