// Finding the servers that a local stack starts: where `tools/setup` puts them, then on PATH.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { environment } from "./config.ts";

const OWN = fileURLToPath(new URL("../../../.tools/bin", import.meta.url));

/**
 * The path of a server's program.
 * @throws Error that names the command which installs it.
 */
export function findServer(name: string): string {
  const found = lookUp(name);
  if (found) return found;
  throw new Error(`${name} is not installed: run "npm run setup", or install it with your system's package manager`);
}

/** The same; undefined when it is not installed. */
export function lookUp(name: string): string | undefined {
  const folders = [OWN, ...(environment()["PATH"] ?? "").split(delimiter)].filter(Boolean);
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
